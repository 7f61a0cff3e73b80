"""Secrets out of text before it reaches a log, an error or a trace.

Secrets are removed by the names of fields, and by pattern from every text that is logged, because exceptions
carry URLs and headers along.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "***"

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


def redact_text(text: str) -> str:
    """Any text with what looks like a credential in it replaced by `***`."""
    if not _MAYBE.search(text):
        return text
    text = _USER_INFO.sub(rf"\1{HIDDEN}@", text)
    text = _SENSITIVE_PARAMETER.sub(rf"\1{HIDDEN}", text)
    text = _SCHEME_VALUE.sub(rf"\1 {HIDDEN}", text)
    return _ASSIGNED.sub(rf"\1{HIDDEN}", text)


def redact_fields(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Values of fields with a telling name are hidden, texts are searched; nested ones too."""
    return {name: _redact_value(name, value) for name, value in fields.items()}


def is_sensitive(name: str) -> bool:
    return _SENSITIVE_NAME.fullmatch(name) is not None


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
