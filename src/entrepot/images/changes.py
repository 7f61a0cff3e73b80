"""`--change`: Dockerfile instructions applied to an image's config, as `import` and `commit` take them.

CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD STOPSIGNAL USER VOLUME WORKDIR, in any case. Pure.
"""

from __future__ import annotations

import json
import posixpath
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from entrepot.errors import InvalidInput

Runtime = dict[str, Any]
"""The `config` object of an image config."""


class InvalidChange(InvalidInput):
    """An instruction that is not allowed here, or that cannot be read."""

    code: ClassVar[str] = "invalid-change"


_ONE_ARGUMENT = frozenset(("STOPSIGNAL", "USER", "WORKDIR"))


def apply_changes(runtime: Mapping[str, Any], changes: Sequence[str]) -> Runtime:
    """A new config object with the instructions applied in order. Raises InvalidChange."""
    result = dict(runtime)
    state = {"cmd_set": False}
    for text in changes:
        word, _, rest = text.strip().partition(" ")
        name = word.upper()
        if not name:
            raise InvalidChange("file with no instructions")
        apply = INSTRUCTIONS.get(name)
        if apply is None:
            raise InvalidChange(f"{name.lower()} is not a valid change command")
        if not rest.strip():
            count = "exactly one argument" if name in _ONE_ARGUMENT else "at least one argument"
            raise InvalidChange(f"{name} requires {count}")
        if name == "ENTRYPOINT" and not state["cmd_set"]:
            # An entry point begins a new command line: the arguments of the old one do not fit it.
            result.pop("Cmd", None)
        apply(result, rest.strip())
        state["cmd_set"] = state["cmd_set"] or name == "CMD"
    return result


def _command(text: str) -> list[str]:
    """JSON form as it is; shell form through a shell."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return ["/bin/sh", "-c", text]


def _list(text: str) -> list[str]:
    if text.startswith("["):
        words = _command(text)
        if words[:2] != ["/bin/sh", "-c"]:
            return words
    return _words(text)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, posix=True)
    except ValueError as error:
        raise InvalidChange(f"{text!r} cannot be read: {error}") from error


def _pairs(name: str, text: str) -> list[tuple[str, str]]:
    """`A=b C="d e"`, or the old form `A b c` with one name."""
    first = text.split(None, 1)[0]
    if "=" not in first:
        key, _, value = text.partition(" ")
        if not value.strip():
            raise InvalidChange(f"{name} must have two arguments")
        return [(key, value.strip())]
    pairs = []
    for word in _words(text):
        key, sign, value = word.partition("=")
        if not sign or not key:
            raise InvalidChange(f"{name}: {word!r} is not of the form NAME=value")
        pairs.append((key, value))
    return pairs


def _cmd(runtime: Runtime, text: str) -> None:
    runtime["Cmd"] = _command(text)


def _entrypoint(runtime: Runtime, text: str) -> None:
    runtime["Entrypoint"] = _command(text)


def _env(runtime: Runtime, text: str) -> None:
    current = list(runtime.get("Env") or [])
    for key, value in _pairs("ENV", text):
        at = next((n for n, one in enumerate(current) if one.partition("=")[0] == key), None)
        if at is None:
            current.append(f"{key}={value}")
        else:
            current[at] = f"{key}={value}"
    runtime["Env"] = current


def _label(runtime: Runtime, text: str) -> None:
    runtime["Labels"] = {**(runtime.get("Labels") or {}), **dict(_pairs("LABEL", text))}


_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
MAX_PORTS = 65536


def _expose(runtime: Runtime, text: str) -> None:
    ports = dict(runtime.get("ExposedPorts") or {})
    for word in _words(text):
        found = _PORT.fullmatch(word)
        first = int(found[1]) if found else 0
        last = int(found[2] or first) if found else 0
        if found is None or not 0 < first <= last < MAX_PORTS:
            raise InvalidChange(f"invalid containerPort: {word}")
        protocol = (found[3] or "tcp").lower()
        ports.update({f"{port}/{protocol}": {} for port in range(first, last + 1)})
    runtime["ExposedPorts"] = ports


def _volume(runtime: Runtime, text: str) -> None:
    paths = [path.strip() for path in _list(text)]
    if not paths:
        raise InvalidChange("VOLUME requires at least one argument")
    if not all(paths):
        raise InvalidChange("VOLUME specified can not be an empty string")
    runtime["Volumes"] = {**(runtime.get("Volumes") or {}), **{path: {} for path in paths}}


def _user(runtime: Runtime, text: str) -> None:
    runtime["User"] = text


def _workdir(runtime: Runtime, text: str) -> None:
    runtime["WorkingDir"] = posixpath.normpath(posixpath.join(runtime.get("WorkingDir") or "/", text))


def _stopsignal(runtime: Runtime, text: str) -> None:
    if not re.fullmatch(r"\d{1,3}|[A-Za-z][A-Za-z0-9+-]*", text):
        raise InvalidChange(f"invalid signal: {text}")
    runtime["StopSignal"] = text


def _onbuild(runtime: Runtime, text: str) -> None:
    word = text.split(None, 1)[0].upper()
    if word == "ONBUILD":
        raise InvalidChange("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if word in ("FROM", "MAINTAINER"):
        raise InvalidChange(f"{word} isn't allowed as an ONBUILD trigger")
    runtime["OnBuild"] = [*(runtime.get("OnBuild") or []), text]


_DURATION = re.compile(r"(?<![\d.])(\d++(?:\.\d++)?)(ns|us|µs|ms|s|m|h)")
_NANOSECONDS = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_DURATIONS = {
    "interval": "Interval",
    "timeout": "Timeout",
    "start-period": "StartPeriod",
    "start-interval": "StartInterval",
}


def _healthcheck(runtime: Runtime, text: str) -> None:
    check: dict[str, Any] = {}
    while text.startswith("--"):
        option, _, text = text.partition(" ")
        key, _, value = option[2:].partition("=")
        text = text.strip()
        if key in _DURATIONS:
            check[_DURATIONS[key]] = _nanoseconds(value)
        elif key == "retries" and value.isdigit():
            check["Retries"] = int(value)
        else:
            raise InvalidChange(f"HEALTHCHECK: unknown flag {option}")
    kind, _, rest = text.partition(" ")
    if kind.upper() == "NONE":
        check = {"Test": ["NONE"]}
    elif kind.upper() == "CMD" and rest.strip():
        command = _command(rest.strip())
        shell = command[:2] == ["/bin/sh", "-c"] and not rest.strip().startswith("[")
        check["Test"] = ["CMD-SHELL", rest.strip()] if shell else ["CMD", *command]
    else:
        raise InvalidChange(f'Unknown type "{kind.upper()}" in HEALTHCHECK (try CMD)')
    runtime["Healthcheck"] = check


def _nanoseconds(text: str) -> int:
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidChange(f"invalid duration {text!r}")
    return int(sum(float(number) * _NANOSECONDS[unit] for number, unit in parts))


INSTRUCTIONS: dict[str, Callable[[Runtime, str], None]] = {
    "CMD": _cmd,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "ONBUILD": _onbuild,
    "STOPSIGNAL": _stopsignal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}
