"""JSON that strangers put into images: bounded in depth and size before it is built."""

from __future__ import annotations

from typing import Any

import msgspec

from entrepot.inventory.packages.package import InvalidEvidence


def json_object(data: bytes) -> dict[str, Any]:
    """Raises InvalidEvidence. A byte order mark is passed over: some packages have one."""
    value = json_value(data)
    if not isinstance(value, dict):
        raise InvalidEvidence("not a JSON object")
    return value


def json_value(data: bytes) -> Any:
    """Raises InvalidEvidence. msgspec refuses what nests deeper than the interpreter's stack allows."""
    try:
        return msgspec.json.decode(data.removeprefix(b"\xef\xbb\xbf"))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidEvidence(f"no JSON: {error}") from error
