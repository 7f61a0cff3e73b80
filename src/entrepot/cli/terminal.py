"""Foreign text on a terminal: nothing in an image's configuration or a registry's answer moves the cursor.

What is escaped are control characters (C0, DEL, C1), line separators, marks that turn the direction of text
around, and bytes that were no UTF-8; as `\\x1b`, on a pipe too, for what is piped ends on a terminal later.
JSON stays exact: there the same characters become its own `\\u001b`. What a program in a container prints
(`run`, `exec`, `logs`) is that program's, and passes as it is.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["cell", "escape_json", "text_lines"]

_SIGNS: Final = "\x7f-\x9f\u061c\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff"
_IN_CELL: Final = re.compile(f"[\x00-\x1f{_SIGNS}]")
_IN_LINES: Final = re.compile(f"[\x00-\x08\x0b-\x1f{_SIGNS}]")


def text_lines(text: str) -> str:
    """Text of any number of lines; tabs stay too."""
    return text if text.isprintable() else _IN_LINES.sub(_escape, text)


def cell(text: str) -> str:
    """Text within a line: a line break in it would begin a row of its own."""
    return text if text.isprintable() else _IN_CELL.sub(_escape, text)


def escape_json(encoded: str) -> str:
    """JSON that says the same."""
    return _IN_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
