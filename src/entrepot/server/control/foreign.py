"""What strangers wrote into images, for pages and answers: JSON within limits, texts that are text.

The documents of images are read for people only, so nothing here raises: what is no JSON, too large or too
deep is as if it said nothing, and what is no text (half a surrogate pair, a control character) becomes
`\\ufffd`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from entrepot.server.storage.threads import run

__all__ = ["MAX_DEPTH", "apart", "clean_text", "read_object", "short_text"]

MAX_DEPTH: Final = 32
MAX_SHOWN: Final = 4_096
"""Characters of one text on a page."""
_MAX_DIGITS: Final = 18
_NO_TEXT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")

_T = TypeVar("_T")
# One thread: however many ask for large images, everything else waits for no more than one of them.
_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="foreign")


async def apart(call: Callable[..., _T], *args: Any) -> _T:
    """Run work on foreign content beside the event loop."""
    return await run(_THREAD, call, *args)


def read_object(raw: bytes) -> dict[str, Any]:
    """A JSON object with clean texts; empty for anything else."""
    try:
        value = json.loads(raw.decode("utf-8", "replace"), parse_int=_number, parse_constant=str)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(value, dict):
        return {}
    return value if b"\\u" not in raw and _is_flat(raw) else _clean(value, MAX_DEPTH)


def clean_text(text: str) -> str:
    """Text that UTF-8, HTML and a terminal can hold; lines and tabs stay."""
    return _NO_TEXT.sub("\ufffd", text)


def short_text(value: Any) -> str:
    """Anything as a text for a page, cut where it is very long; empty for nothing."""
    if value is None or value == "":
        return ""
    text = value if isinstance(value, str) else f"{value}"
    return clean_text(text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…")


def _number(text: str) -> int | str:
    """A number that no answer could hold stays a text."""
    return int(text) if len(text) <= _MAX_DIGITS else text[:MAX_SHOWN]


def _is_flat(raw: bytes) -> bool:
    """Whether it is surely not nested too deep, and has no control character of its own."""
    return raw.count(b"{") + raw.count(b"[") <= MAX_DEPTH and b"\x7f" not in raw and b"\xc2" not in raw


def _clean(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return None
    if isinstance(value, list):
        return [_clean(item, depth - 1) for item in value]
    return {clean_text(key): _clean(item, depth - 1) for key, item in value.items()}
