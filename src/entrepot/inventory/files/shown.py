"""How entries are written for people."""

from __future__ import annotations

import os
import re

from entrepot.inventory.files.entries import LayerEntry, What
from entrepot.layers.paths import Path, join

_LETTERS = {
    What.FILE: "-",
    What.HARD_LINK: "h",
    What.SYMLINK: "l",
    What.CHAR_DEVICE: "c",
    What.BLOCK_DEVICE: "b",
    What.DIRECTORY: "d",
    What.FIFO: "p",
    What.REMOVED: "w",
    What.EMPTIED: "o",
}
_KINDS = {
    What.FILE: "file",
    What.HARD_LINK: "hard link",
    What.SYMLINK: "symlink",
    What.CHAR_DEVICE: "character device",
    What.BLOCK_DEVICE: "block device",
    What.DIRECTORY: "directory",
    What.FIFO: "fifo",
    What.REMOVED: "removed",
    What.EMPTIED: "emptied",
}


_TURNING = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029"
    "\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters, marks that turn text around, and bytes that are no UTF-8."""


def visible(text: str) -> str:
    """The text with everything that could make it look like another written out: `\\u202e`, `\\xff`."""
    return _TURNING.sub(_written_out, text)


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as `os.fsdecode` keeps it
        return f"\\x{code - 0xDC00:02x}"
    return found[0].encode("unicode_escape", "surrogatepass").decode("ascii")


def kind_name(what: What) -> str:
    """In JSON and pages."""
    return _KINDS[what]


def mode_text(entry: LayerEntry) -> str:
    """As `ls -l`: `drwxr-xr-x`; `w` before what a layer removes, `o` before a folder it empties."""
    mode = entry.mode
    text = [_LETTERS[entry.what]]
    for shift, special, lower, upper in ((6, 0o4000, "s", "S"), (3, 0o2000, "s", "S"), (0, 0o1000, "t", "T")):
        bits = mode >> shift
        text.append("r" if bits & 4 else "-")
        text.append("w" if bits & 2 else "-")
        if mode & special:
            text.append(lower if bits & 1 else upper)
        else:
            text.append("x" if bits & 1 else "-")
    return "".join(text)


def path_text(path: Path, *, is_directory: bool = False) -> str:
    """Absolute, a folder with `/` behind it. Bytes that are no UTF-8 stay as surrogates."""
    text = "/" + os.fsdecode(join(path))
    return text + "/" if is_directory and path else text


def parse_shown(text: str) -> Path:
    """What a person typed, `.` and `..` resolved as text; never above the root."""
    parts: list[bytes] = []
    for part in os.fsencode(text).split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return tuple(parts)
