"""A layer's list and an image's view as bytes, to be kept and read in parts.

::

    list   MAGIC version  (length block)*  0  length end        blocks in the tar's order
    view   MAGIC version  length head      block*               blocks by (folder, name)

A block is a zstd frame of msgpack; lengths are 32 bits, little endian. In a view the rows of one folder
stand together, and those of all folders below it behind them, so that a folder, or all below it, is one range
of blocks; the head says where each begins.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

import msgspec
import zstandard
from msgspec import Struct

from entrepot.errors import InvalidInput
from entrepot.inventory.files.entries import LayerEntry, What
from entrepot.inventory.files.sizes import FolderSize, Waste, folder_sizes, waste_of
from entrepot.inventory.files.tree import Tree, TreeNode
from entrepot.layers.entry import Segment
from entrepot.layers.paths import Path

VERSION = 1
"""Of both formats. What another version wrote is made again."""
LIST_MAGIC, VIEW_MAGIC = b"EFLS", b"EFVW"
BLOCK_ENTRIES = 1024
MAX_BLOCK_BYTES = 64 << 20
"""Of one block, uncompressed."""
SHOWN_WASTE = 100
PICTURE_DEPTH = 4
PICTURE_SHARE = 0.004
"""Folders with less of the whole are left out of the picture."""


class InvalidListing(InvalidInput):
    """Stored bytes are no list or view of this version."""

    code = "invalid-listing"


class ListEnd(Struct):
    """What is known of a layer when it has been read."""

    diff_id: str
    entries: int
    tar_bytes: int


class ViewRow(Struct, array_like=True):
    """One name of an image."""

    path: Path
    what: What
    mode: int
    uid: int
    gid: int
    size: int
    """Of a file; of a folder, of all files below it."""
    files: int
    """Files below a folder."""
    mtime_ns: int
    link: bytes
    major: int
    minor: int
    sha256: bytes
    source: int
    """The layer with the content, from 0."""
    offset: int
    segments: tuple[Segment, ...] | None
    brought: int
    """The layer that brought it."""
    layer: int
    """The layer that spoke of it last."""
    hidden_by: int
    """The layer that removed it; -1 for what is there."""

    @property
    def is_directory(self) -> bool:
        return self.what is What.DIRECTORY

    @property
    def key(self) -> tuple[Path, bytes]:
        return self.path[:-1], self.path[-1]


class PictureFolder(Struct, array_like=True):
    """A folder or file of the picture of sizes."""

    path: Path
    size: int
    is_directory: bool
    start: int
    """Bytes before it in the whole."""


class WasteRow(Struct, array_like=True):
    path: Path
    size: int
    copies: int
    removed: bool


class ViewHead(Struct):
    """What a page about the image says without reading a block."""

    size: int
    files: int
    layer_sizes: list[int]
    """Bytes of each layer's files."""
    wasted_bytes: int
    efficiency: float
    wasted: list[WasteRow]
    wasted_files: int
    picture: list[PictureFolder]
    firsts: list[tuple[Path, bytes]]
    """Key of each block's first row."""
    offsets: list[int]
    """Where each block begins behind the head, and where the last one ends."""


def encode_list(entries: Iterable[LayerEntry]) -> Iterator[bytes]:
    """The list but for its end, as it is read."""
    compressor = zstandard.ZstdCompressor(level=6)
    yield LIST_MAGIC + bytes([VERSION])
    block: list[LayerEntry] = []
    size = 0
    for entry in entries:
        block.append(entry)
        size += 256 + sum(map(len, entry.path)) + len(entry.link) + 16 * len(entry.segments or ())
        if len(block) == BLOCK_ENTRIES or size > MAX_BLOCK_BYTES // 8:
            yield _framed(compressor.compress(msgspec.msgpack.encode(block)))
            block, size = [], 0
    if block:
        yield _framed(compressor.compress(msgspec.msgpack.encode(block)))


def encode_end(end: ListEnd) -> bytes:
    return bytes(4) + _framed(msgspec.msgpack.encode(end))


def _framed(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


_ENTRIES = msgspec.msgpack.Decoder(list[LayerEntry])
_ROWS = msgspec.msgpack.Decoder(list[ViewRow])


def decode_list(data: bytes) -> Iterator[LayerEntry]:
    """Raises InvalidListing."""
    at = _after_magic(data, LIST_MAGIC)
    while True:
        length = int.from_bytes(data[at : at + 4], "little")
        if len(data) < at + 4:
            raise InvalidListing("a list of files that ends early")
        if not length:
            return
        try:
            yield from _ENTRIES.decode(_inflated(data[at + 4 : at + 4 + length]))
        except msgspec.MsgspecError as error:
            raise InvalidListing(f"a list of files that can't be read: {error}") from error
        at += 4 + length


def list_end(data: bytes) -> ListEnd:
    """What stands behind a list. Raises InvalidListing."""
    at = _after_magic(data, LIST_MAGIC)
    while length := int.from_bytes(data[at : at + 4], "little"):
        at += 4 + length
    try:
        return msgspec.msgpack.decode(data[at + 8 :], type=ListEnd)
    except msgspec.MsgspecError as error:
        raise InvalidListing(f"a list of files that ends early: {error}") from error


def _after_magic(data: bytes, magic: bytes) -> int:
    if data[:4] != magic or data[4:5] != bytes([VERSION]):
        raise InvalidListing("stored bytes are no list of this version")
    return 5


def _inflated(data: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=MAX_BLOCK_BYTES)
    except zstandard.ZstdError as error:
        raise InvalidListing(f"a list of files that can't be read: {error}") from error


# The view.


def encode_view(tree: Tree, layer_sizes: list[int]) -> bytes:
    """The whole view of a complete tree."""
    sizes, waste = folder_sizes(tree), waste_of(tree)
    rows = sorted(_rows(tree, sizes), key=lambda row: (row.path[:-1], row.path[-1], row.hidden_by))
    compressor = zstandard.ZstdCompressor(level=6)
    firsts, offsets, blocks = [], [0], []
    for start in range(0, len(rows), BLOCK_ENTRIES):
        part = rows[start : start + BLOCK_ENTRIES]
        firsts.append(part[0].key)
        blocks.append(compressor.compress(msgspec.msgpack.encode(part)))
        offsets.append(offsets[-1] + len(blocks[-1]))
    head = compressor.compress(msgspec.msgpack.encode(_head(sizes, waste, layer_sizes, firsts, offsets)))
    return b"".join((VIEW_MAGIC, bytes([VERSION]), _framed(head), *blocks))


def _rows(tree: Tree, sizes: FolderSize) -> Iterator[ViewRow]:
    totals: dict[Path, FolderSize] = {}
    waiting = [sizes]
    while waiting:
        folder = waiting.pop()
        totals[folder.path] = folder
        waiting += [child for child in folder.children if child.is_directory]
    nodes: list[tuple[Path, TreeNode, int]] = [((), tree.root, -1)]
    while nodes:
        path, node, hidden_by = nodes.pop()
        if path:
            total = totals.get(path) if node.is_directory and hidden_by < 0 else None
            yield _row(path, node, hidden_by, total)
        below = node.children or {}
        nodes += [((*path, name), child, hidden_by) for name, child in below.items()]
        if hidden_by < 0 and node.gone:
            nodes += [((*path, name), gone.node, gone.hidden_by) for name, gone in node.gone.items()]


def _row(path: Path, node: TreeNode, hidden_by: int, total: FolderSize | None) -> ViewRow:
    entry = node.entry
    return ViewRow(
        path,
        entry.what,
        entry.mode,
        entry.uid,
        entry.gid,
        total.size if total is not None else entry.size,
        total.files if total is not None else 0,
        entry.mtime_ns,
        entry.link,
        entry.major,
        entry.minor,
        entry.sha256,
        node.source,
        entry.offset,
        entry.segments,
        node.brought,
        node.layer,
        hidden_by,
    )


def _head(
    sizes: FolderSize,
    waste: Waste,
    layer_sizes: list[int],
    firsts: list[tuple[Path, bytes]],
    offsets: list[int],
) -> ViewHead:
    shown = waste.files[:SHOWN_WASTE]
    return ViewHead(
        sizes.size,
        sizes.files,
        layer_sizes,
        waste.wasted_bytes,
        waste.efficiency,
        [WasteRow(each.path, each.size, each.copies, each.removed) for each in shown],
        len(waste.files),
        list(_picture(sizes)),
        firsts,
        offsets,
    )


def _picture(top: FolderSize) -> Iterator[PictureFolder]:
    least = max(1, top.size * PICTURE_SHARE)
    waiting = [(top, 0)]
    while waiting:
        folder, start = waiting.pop()
        if folder.path:
            yield PictureFolder(folder.path, folder.size, folder.is_directory, start)
        if len(folder.path) < PICTURE_DEPTH:
            for child in folder.children:  # largest first
                if child.size < least:
                    break
                waiting.append((child, start))
                start += child.size


def head_length(first: bytes) -> int:
    """Bytes of a view's beginning and head, told by its first nine. Raises InvalidListing."""
    _after_magic(first, VIEW_MAGIC)
    return 9 + int.from_bytes(first[5:9], "little")


def decode_head(data: bytes) -> ViewHead:
    """From `head_length` bytes. Raises InvalidListing."""
    try:
        return msgspec.msgpack.decode(_inflated(data[9:]), type=ViewHead)
    except msgspec.MsgspecError as error:
        raise InvalidListing(f"a view of files that can't be read: {error}") from error


def decode_blocks(data: bytes, head: ViewHead, blocks: range) -> Iterator[ViewRow]:
    """The rows of consecutive blocks, of the bytes from the first one's beginning to the last one's end.

    Raises InvalidListing.
    """
    begin = head.offsets[blocks.start]
    for block in blocks:
        piece = data[head.offsets[block] - begin : head.offsets[block + 1] - begin]
        try:
            yield from _ROWS.decode(_inflated(piece))
        except msgspec.MsgspecError as error:
            raise InvalidListing(f"a view of files that can't be read: {error}") from error


def blocks_of_path(head: ViewHead, path: Path) -> range:
    """Blocks in which the row of a path can be."""
    return _blocks(head, (path[:-1], path[-1]), (path[:-1], path[-1] + b"\0"))


def blocks_of_folder(head: ViewHead, folder: Path, after: bytes = b"") -> range:
    """Blocks with what is directly in a folder, from a name on."""
    return _blocks(head, (folder, after), ((*folder, b""), b""))


def blocks_below(head: ViewHead, folder: Path, after: tuple[Path, bytes] | None = None) -> range:
    """Blocks with everything below a folder, from a key on. Rows of others may stand among them."""
    end = bisect_right(head.firsts, folder, key=lambda first: first[0][: len(folder)])
    start = max(0, bisect_right(head.firsts, after or (folder, b"")) - 1)
    return range(start, end)


def _blocks(head: ViewHead, first: tuple[Path, bytes], end: tuple[Path, bytes]) -> range:
    start = max(0, bisect_right(head.firsts, first) - 1)
    # A key may begin in the block before the one it is first in: the same name, present and removed.
    while start and head.firsts[start] == first:
        start -= 1
    return range(start, bisect_left(head.firsts, end))
