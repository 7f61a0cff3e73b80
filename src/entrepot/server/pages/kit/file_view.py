"""The files of an image as pages show them: the picture of sizes, ways to folders, a file's text. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl

from entrepot.inventory.files.shown import parse_shown, visible
from entrepot.inventory.files.sorts import describe, image_type
from entrepot.inventory.files.text import decode_text
from entrepot.server.control.contents import PictureFolder, ViewHead, shown_path

__all__ = [
    "MAX_LINES",
    "MAX_TEXT_BYTES",
    "FileText",
    "Picture",
    "PictureRow",
    "WastedPath",
    "asked_path",
    "crumbs",
    "file_text",
    "picture_of",
]

MAX_TEXT_BYTES: Final = 512 * 1024
"""Of a file that is shown as text; the rest is behind the download."""
MAX_LINES: Final = 5_000
MAX_LINE: Final = 2_000
MAX_PATH: Final = 16 * 1024
_ROW: Final = 24
_LETTER: Final = 0.9
"""Share of the width that one letter takes, in percent, on a page of usual width."""


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A folder or file of the picture."""

    folder: PictureFolder
    path: str
    name: str
    size: int
    start: float
    """Percent of the whole, as `width`."""
    width: float
    top: int
    colour: int

    @property
    def letters(self) -> float:
        """The width that its name needs."""
        return len(self.name) * _LETTER + 1.5

    def address(self, url: Any, repository: str, digest: str) -> str:
        return str(
            url.repository(repository, "manifests", digest, "files", path=b"/" + b"/".join(self.folder.path))
        )


@dataclass(frozen=True, slots=True)
class WastedPath:
    path: str
    size: int
    copies: int
    removed: bool


@dataclass(frozen=True, slots=True)
class Picture:
    rows: list[PictureRow]
    height: int
    wasted: list[WastedPath]


def picture_of(head: ViewHead) -> Picture:
    """Folders below folders, each as wide as its bytes."""
    tops = {each.path[0]: number for number, each in enumerate(_tops(head))}
    rows = [
        PictureRow(
            each,
            shown_path(each.path, is_directory=each.is_directory),
            visible(each.path[-1].decode("utf-8", "surrogateescape")),
            each.size,
            100 * each.start / head.size,
            100 * each.size / head.size,
            (len(each.path) - 1) * _ROW,
            (tops.get(each.path[0], 0) * 2 + (len(each.path) - 1) % 2) % 6,
        )
        for each in sorted(head.picture, key=lambda each: each.path)
        if head.size
    ]
    deepest = max((len(each.path) for each in head.picture), default=0)
    wasted = [WastedPath(shown_path(each.path), each.size, each.copies, each.removed) for each in head.wasted]
    return Picture(rows, deepest * _ROW - 1 if deepest else 0, wasted)


def _tops(head: ViewHead) -> list[PictureFolder]:
    return sorted((each for each in head.picture if len(each.path) == 1), key=lambda each: each.start)


def asked_path(query_string: bytes, field: str = "path") -> tuple[bytes, ...]:
    """The path of an address, byte by byte: names in images need not be UTF-8."""
    pairs = parse_qsl(query_string[:MAX_PATH].decode("latin-1"), errors="surrogateescape")
    return parse_shown(next((value for name, value in pairs if name == field), "/"))


def crumbs(path: tuple[bytes, ...]) -> list[tuple[str, bytes]]:
    """Name and path of each folder on the way."""
    return [
        (visible(name.decode("utf-8", "surrogateescape")), b"/" + b"/".join(path[: depth + 1]))
        for depth, name in enumerate(path)
    ]


@dataclass(frozen=True, slots=True)
class FileText:
    """What can be shown of a file."""

    lines: list[str]
    """Empty for what is no text."""
    encoding: str
    is_cut: bool
    """There is more than is shown."""
    picture: str | None
    """Media type of an image that browsers show."""
    words: str
    """What it is, when its first bytes tell."""


def file_text(head: bytes, size: int) -> FileText:
    """From a file's first bytes, at most `MAX_TEXT_BYTES` of them."""
    picture, words = image_type(head), describe(head)
    decoded = None if picture else decode_text(head, cut=size > len(head))
    if decoded is None:
        return FileText([], "", False, picture, words)
    text, encoding = decoded
    lines = text.split("\n")
    if lines[-1:] == [""]:
        lines.pop()
    shown = [visible(line.removesuffix("\r")[:MAX_LINE]) for line in lines[:MAX_LINES]]
    is_cut = size > len(head) or len(lines) > MAX_LINES or any(len(line) > MAX_LINE for line in lines)
    return FileText(shown, encoding, is_cut, None, words)
