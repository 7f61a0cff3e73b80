"""Reading and printing one value of a setting: sizes, durations, lists, tables. Pure.

`convert` takes what TOML or the environment holds and a field's type, and returns the typed value;
it raises ValueError with a sentence that starts after the setting's name ("is not …").

`msgspec.convert` was tried: it says less, and little of this would go (docs/architecture.md).
"""

from __future__ import annotations

import dataclasses
import re
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from entrepot.server.config.model import DAY, GIB, HOUR, KIB, MIB, MINUTE, TIB, Bytes, Seconds, Secret

SIZE_UNITS = {
    "": 1, "b": 1, "k": KIB, "kib": KIB, "m": MIB, "mib": MIB, "g": GIB, "gib": GIB, "t": TIB, "tib": TIB,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip
DURATION_UNITS = {
    "": 1.0,
    "ms": 0.001,
    "s": 1.0,
    "m": MINUTE,
    "min": MINUTE,
    "h": HOUR,
    "d": DAY,
    "w": 7 * DAY,
}
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([a-zA-Z]*)")
_TRUE, _FALSE = frozenset({"true", "yes", "on", "1"}), frozenset({"false", "no", "off", "0"})


def convert(value: object, kind: Any, *, from_text: bool) -> Any:
    """`value` as `kind`. With `from_text` it came from the environment and is a string.

    Raises TypeError, ValueError.
    """
    if kind in _PLAIN:
        return _PLAIN[kind](value, from_text)
    origin = get_origin(kind)
    if origin is Literal:
        return _choice(value, get_args(kind))
    if origin in (Union, types.UnionType):
        inner = [arg for arg in get_args(kind) if arg is not type(None)]
        return None if value in (None, "") else convert(value, inner[0], from_text=from_text)
    if origin is tuple:
        return tuple(
            convert(item, get_args(kind)[0], from_text=from_text) for item in _items(value, from_text)
        )
    if origin is dict:
        if not isinstance(value, dict):
            raise ValueError("is not a table")
        return {str(key): convert(item, get_args(kind)[1], from_text=False) for key, item in value.items()}
    if dataclasses.is_dataclass(kind):
        return _table(value, kind)
    raise TypeError(f"no way to read a setting of type {kind!r}")


def _table(value: object, kind: Any) -> Any:
    if not isinstance(value, dict):
        raise ValueError("is not a table")  # noqa: TRY004 - one kind of error for a bad value
    hints = get_type_hints(kind)
    known = {item.name for item in dataclasses.fields(kind)}
    for key in value:
        if key not in known:
            raise ValueError(f"has no key `{key}`; it may have {', '.join(sorted(known))}")
    made: dict[str, Any] = {}
    for key, item in value.items():
        try:
            made[key] = convert(item, hints[key], from_text=False)
        except ValueError as error:
            raise ValueError(f"key `{key}` {error}") from None
    try:
        return kind(**made)
    except TypeError as error:
        missing = [
            item.name
            for item in dataclasses.fields(kind)
            if item.name not in made
            and item.default is dataclasses.MISSING
            and item.default_factory is dataclasses.MISSING
        ]
        raise ValueError(f"needs {', '.join(missing)}") from error


def _items(value: object, from_text: bool) -> list[object]:
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, str):
        # One word is a list of one, in a file too: `listen = ":5000"`.
        pieces = value.split(",") if from_text else [value]
        return [piece.strip() for piece in pieces if piece.strip()]
    raise ValueError("is not a list")


def _choice(value: object, choices: tuple[Any, ...]) -> Any:
    if value in choices:
        return value
    raise ValueError(f"is {value!r}; it may be {', '.join(repr(choice) for choice in choices)}")


def _text(value: object, _from_text: bool) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("is not a string")


def _secret(value: object, from_text: bool) -> Secret:
    return Secret(_text(value, from_text))


def _path(value: object, from_text: bool) -> Path:
    text = str(value) if isinstance(value, Path) else _text(value, from_text)
    if not text or "\0" in text:
        raise ValueError("is not a path")
    return Path(text).expanduser()


def _boolean(value: object, from_text: bool) -> bool:
    if isinstance(value, bool):
        return value
    if from_text and isinstance(value, str):
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
    raise ValueError(f"is {value!r}; it is true or false")


def _integer(value: object, from_text: bool) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if from_text and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    raise ValueError(f"is {value!r}; it is a whole number, 0 or more")


def _number(value: object, from_text: bool) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return float(value)
    if from_text and isinstance(value, str) and re.fullmatch(r"[0-9]+(\.[0-9]+)?", value):
        return float(value)
    raise ValueError(f"is {value!r}; it is a number, 0 or more")


def _size(value: object, _from_text: bool) -> Bytes:
    return Bytes(int(_amount(value, SIZE_UNITS, 'a size such as "4MiB" or a number of bytes')))


def _duration(value: object, _from_text: bool) -> Seconds:
    return Seconds(float(_amount(value, DURATION_UNITS, 'a duration such as "30s" or "24h"')))


def _amount(value: object, units: dict[str, Any], what: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return value
    found = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or found[2].lower() not in units:
        raise ValueError(f"is {value!r}; it is {what}")
    number = float(found[1]) if "." in found[1] else int(found[1])
    return float(number * units[found[2].lower()])


_PLAIN: dict[Any, Any] = {
    str: _text, Secret: _secret, Path: _path, bool: _boolean, int: _integer, float: _number,
    Bytes: _size, Seconds: _duration,
}  # fmt: skip


def show(value: object, kind: Any) -> str:
    """`value` as TOML writes it, in the unit a person would choose. Secrets are hidden."""
    if isinstance(value, Secret):
        return '"***"' if value else '""'
    if kind is Bytes and isinstance(value, int):
        return _show_amount(value, (("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)))
    if kind is Seconds and isinstance(value, (int, float)):
        return _show_amount(value, (("d", DAY), ("h", HOUR), ("min", MINUTE), ("s", 1)))
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    if value is None:
        return '""'
    if isinstance(value, (tuple, list)):
        inner = get_args(kind)[0] if get_args(kind) else str
        return "[" + ", ".join(show(item, inner) for item in value) + "]"
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = get_type_hints(type(value))
        pairs = (
            f"{item.name} = {show(getattr(value, item.name), hints[item.name])}"
            for item in dataclasses.fields(value)
        )
        return "{ " + ", ".join(pairs) + " }"
    if isinstance(value, dict):
        inner = get_args(kind)[1] if get_args(kind) else str
        return "{ " + ", ".join(f"{_quote(str(k))} = {show(v, inner)}" for k, v in value.items()) + " }"
    return _quote(str(value))


def _show_amount(value: float, units: tuple[tuple[str, int], ...]) -> str:
    for name, factor in units:
        if value and value % factor == 0:
            return f'"{int(value // factor)}{name}"'
    return str(int(value)) if value == int(value) else str(value)


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c >= " " and c != "\x7f" else f"\\u{ord(c):04x}" for c in escaped) + '"'
