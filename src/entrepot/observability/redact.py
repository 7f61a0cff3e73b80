"""Secrets out of text before it reaches a log, an error or a trace.

Secrets are removed where they are known to be (headers, URL user info, query parameters) and once
more by pattern in everything that is logged, because exceptions carry URLs and headers along.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

HIDDEN: Final = "***"

SENSITIVE_HEADERS: Final = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-registry-auth",
        "x-registry-config",
        "x-api-key",
        "x-csrf-token",
    }
)

_WORDS: Final = (
    "password|passwd|secret|token|access_token|refresh_token|identity_token|identitytoken|id_token|"
    "registrytoken|client_secret|api_key|apikey|authorization|cookie|credential|credentials|session|"
    "assertion|code_verifier|private_key"
)
_SENSITIVE_NAME: Final = re.compile(rf"(?:.*[-_])?(?:{_WORDS})", re.IGNORECASE)
# Signed URLs of object stores carry their right of access in the query.
_SENSITIVE_PARAMETER: Final = re.compile(
    rf"([?&;](?:{_WORDS}|sig|signature|x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature"
    r"|x-goog-credential|_state|state|code)=)[^&\s\"'>]*",
    re.IGNORECASE,
)
_USER_INFO: Final = re.compile(r"(://)[^/\s\"'@]++@")
_SCHEME_VALUE: Final = re.compile(
    r"\b(bearer|basic|digest|negotiate)\s+(?!realm=)[A-Za-z0-9+/._~=-]{6,}", re.IGNORECASE
)
_ASSIGNED: Final = re.compile(
    rf"(?<![A-Za-z0-9])((?:{_WORDS})[\"']?\s*[:=]\s*[\"']?)(?!\*\*\*)[^\s\"',;&}}]+", re.IGNORECASE
)
_MAYBE: Final = re.compile(
    rf"://[^/\s]*@|bearer |basic |digest |negotiate |{_WORDS}|sig(?:nature)?=|_state=|code=", re.IGNORECASE
)


class Secret:
    """A text that shows itself only when asked to. Equal and hashable by value, `***` in any print."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return HIDDEN

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> str | tuple[Any, ...]:
        raise TypeError("a Secret is not written anywhere")


def redact_text(text: str) -> str:
    """Any text with what looks like a credential in it replaced by `***`."""
    if not _MAYBE.search(text):
        return text
    text = _USER_INFO.sub(rf"\1{HIDDEN}@", text)
    text = _SENSITIVE_PARAMETER.sub(rf"\1{HIDDEN}", text)
    text = _SCHEME_VALUE.sub(rf"\1 {HIDDEN}", text)
    return _ASSIGNED.sub(rf"\1{HIDDEN}", text)


def redact_url(url: str) -> str:
    """Without user info, and with sensitive query parameters hidden."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return redact_text(url)
    host = parts.netloc.rpartition("@")[2]
    netloc = f"{HIDDEN}@{host}" if "@" in parts.netloc else host
    return redact_text(urlunsplit(parts._replace(netloc=netloc)))


def redact_headers(headers: Mapping[str, str] | Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """The scheme of a credential stays (`Bearer ***`), for people who look for what went wrong."""
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [(name, _redact_header(name, value)) for name, value in pairs]


def redact_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields with a telling name are hidden, texts are searched; nested ones too."""
    return {name: _redact_value(name, value) for name, value in fields.items()}


def is_sensitive(name: str) -> bool:
    return _SENSITIVE_NAME.fullmatch(name) is not None


def _redact_header(name: str, value: str) -> str:
    if name.lower() not in SENSITIVE_HEADERS:
        return redact_text(value)
    scheme, space, _ = value.partition(" ")
    is_scheme = bool(space) and name.lower().endswith("authorization") and scheme.isalpha()
    return f"{scheme} {HIDDEN}" if is_scheme else HIDDEN


def _redact_value(name: str, value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if is_sensitive(name):
        return HIDDEN
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return redact_fields({str(key): item for key, item in value.items()})
    if isinstance(value, list | tuple | set | frozenset):
        return [_redact_value(name, item) for item in value]
    return redact_text(str(value))
