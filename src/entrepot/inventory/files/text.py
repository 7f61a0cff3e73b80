"""Whether content is text, in which encoding, and which lines of two texts differ."""

from __future__ import annotations

import codecs
import difflib

MAX_DIFF_LINES = 20_000
"""Of both sides together: difflib's time grows with the square of what differs."""

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_ALLOWED = frozenset("\t\n\r\f\x1b")


def decode_text(data: bytes, *, cut: bool = False) -> tuple[str, str] | None:
    """The text and the name of its encoding; None for what is no text.

    `cut`: the end may be missing, in the middle of a character. Bytes that are no UTF-8 are taken for Latin-1
    when none of them is a control character.
    """
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            try:
                return codecs.getincrementaldecoder(encoding)().decode(data, final=not cut), encoding
            except UnicodeDecodeError:
                return None
    if b"\0" in data:
        return None
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
        encoding = "ascii" if text.isascii() else "utf-8"
    except UnicodeDecodeError:
        if any(0x7F <= byte < 0xA0 for byte in data):
            return None
        text, encoding = data.decode("latin-1"), "latin-1"
    controls = sum(1 for sign in set(text) if sign < " " and sign not in _ALLOWED)
    return (text, encoding) if not controls else None


def unified(before: bytes, after: bytes, name: str) -> str:
    """Changed lines with three around them; empty when a side is no text, or has too many lines."""
    old, new = decode_text(before), decode_text(after)
    if old is None or new is None:
        return ""
    left, right = old[0].splitlines(), new[0].splitlines()
    if len(left) + len(right) > MAX_DIFF_LINES:
        return ""
    lines = difflib.unified_diff(left, right, f"a{name}", f"b{name}", lineterm="")
    return "".join(line + "\n" for line in lines)
