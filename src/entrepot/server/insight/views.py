"""Parts of an image's view, read from the store: its head, a folder, everything below one, a single path."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

from entrepot.inventory.files.entries import What
from entrepot.inventory.files.stored import (
    ViewHead,
    ViewRow,
    blocks_below,
    blocks_of_folder,
    blocks_of_path,
    decode_blocks,
    decode_head,
)
from entrepot.layers.directory import MAX_LINKS
from entrepot.layers.paths import Path, link_parts
from entrepot.server.insight.records import Derived
from entrepot.server.storage.store import BlobStore

__all__ = ["BLOCKS_AT_ONCE", "ImageView"]

BLOCKS_AT_ONCE: Final = 64


class ImageView:
    """Of one image. Reads what is asked for and keeps nothing but the head."""

    def __init__(self, store: BlobStore, name: str, head_bytes: int, head: ViewHead) -> None:
        self._store = store
        self._name = name
        self._head_bytes = head_bytes
        self.head = head

    @classmethod
    async def open(cls, store: BlobStore, made: Derived) -> ImageView:
        """Raises BlobMissing, InvalidListing."""
        length = int(made.detail["head"])
        head = decode_head(await _read(store, made.object or "", 0, length))
        return cls(store, made.object or "", length, head)

    async def rows(self, blocks: range) -> AsyncGenerator[ViewRow, None]:
        """The rows of some blocks, read a few at a time."""
        for start in range(blocks.start, blocks.stop, BLOCKS_AT_ONCE):
            part = range(start, min(blocks.stop, start + BLOCKS_AT_ONCE))
            begin, end = self.head.offsets[part.start], self.head.offsets[part.stop]
            data = await _read(self._store, self._name, self._head_bytes + begin, self._head_bytes + end)
            for row in decode_blocks(data, self.head, part):
                yield row

    async def find(self, path: Path) -> ViewRow | None:
        """What is at a path, links not followed; what is hidden when nothing is there any more."""
        hidden = None
        async for row in self.rows(blocks_of_path(self.head, path)):
            if row.path == path:
                if row.hidden_by < 0:
                    return row
                hidden = row
        return hidden

    async def resolve(self, path: Path) -> tuple[Path, ViewRow | None]:
        """The path with symlinks followed inside of the image, and what is there; None for the root and for
        what is missing, also after 40 links."""
        names, rest, links = list[bytes](), list(reversed(path)), 0
        row: ViewRow | None = None
        while rest:
            name = rest.pop()
            if name == b"..":
                del names[-1:]
                row = await self.find(tuple(names)) if names else None
                continue
            row = await self.find((*names, name))
            if row is None or row.what is not What.SYMLINK or row.hidden_by >= 0:
                names.append(name)
                if row is None and rest:
                    return (*names, *reversed(rest)), None
                continue
            links += 1
            if links > MAX_LINKS:
                return path, None
            absolute, parts = link_parts(row.link)
            if absolute:
                names.clear()
            rest.extend(reversed(parts))
        return tuple(names), row

    async def folder(self, folder: Path, *, after: bytes = b"") -> AsyncGenerator[ViewRow, None]:
        """What is directly in a folder, by name, from a name on; hidden rows too."""
        async for row in self.rows(blocks_of_folder(self.head, folder, after)):
            if row.path[:-1] == folder and row.path[-1] >= after:
                yield row

    async def below(
        self, folder: Path, *, after: tuple[Path, bytes] | None = None
    ) -> AsyncGenerator[ViewRow, None]:
        """Everything below a folder, folder by folder, from a key on; hidden rows too."""
        async for row in self.rows(blocks_below(self.head, folder, after)):
            is_below = row.path[: len(folder)] == folder and len(row.path) > len(folder)
            if is_below and (after is None or row.key >= after):
                yield row


async def _read(store: BlobStore, name: str, start: int, end: int) -> bytes:
    if start == end:
        return b""
    async with aclosing(await store.open_derived(name, start, end)) as stream:
        return b"".join([bytes(piece) async for piece in stream])
