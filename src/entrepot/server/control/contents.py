"""The files of an image, for who may pull it: lists, contents, sizes, and what differs between two.

A view is found by the image's manifest, which has to be the repository's own, and only when every layer is
there too: knowing digests gives nobody a look at what they could not pull.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from entrepot.errors import NotFound
from entrepot.inventory.files.entries import LayerEntry, What
from entrepot.inventory.files.process import Limits, ReadRequest, WantedFile
from entrepot.inventory.files.shown import kind_name, mode_text, path_text, visible
from entrepot.inventory.files.stored import PictureFolder, ViewHead, ViewRow, WasteRow
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.paths import Path, join
from entrepot.layers.tar_writer import TarWriter
from entrepot.oci.digest import Digest
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.config.model import Config
from entrepot.server.control.foreign import clean_text, read_object
from entrepot.server.control.queries import content
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look
from entrepot.server.insight import records
from entrepot.server.insight.indexer import IndexSettings
from entrepot.server.insight.reading import read_apart
from entrepot.server.insight.records import IMAGE_FILES, Derived
from entrepot.server.insight.views import ImageView
from entrepot.server.storage.errors import BlobMissing

__all__ = [
    "MAX_LISTED",
    "Contents",
    "FileDifferenceRow",
    "FileRow",
    "FilesNotListed",
    "NoSuchFileInImage",
    "PictureFolder",
    "ViewHead",
    "WasteRow",
    "compare_files",
    "file_row",
    "find_file",
    "index_settings",
    "list_files",
    "open_contents",
    "read_file",
    "read_tar",
    "shown_path",
]

MAX_LISTED: Final = 1000
"""Rows of one page or answer."""
MAX_SORTED: Final = 20_000
"""Rows that are put in order by size; a larger folder is listed by name."""
MAX_TAR_FILES: Final = 100_000
READ_TIMEOUT_S: Final = 600.0
READ_MEMORY: Final = 512 << 20


class FilesNotListed(NotFound):
    """Nobody has looked into the image yet, or it can't be looked into."""

    code = "files-not-listed"


class NoSuchFileInImage(NotFound):
    """The image has nothing at the path."""

    code = "no-such-file-in-image"


@dataclass(frozen=True, slots=True)
class FileRow:
    """One name of an image, as people and programs are shown it."""

    row: ViewRow
    path: str
    """Absolute, a folder with `/` behind it; what is no text is replaced."""
    name: str
    kind: str
    mode: str
    link: str

    @property
    def address(self) -> bytes:
        """The path as it is, byte by byte."""
        return b"/" + join(self.row.path)

    @property
    def is_directory(self) -> bool:
        return self.row.is_directory

    @property
    def is_file(self) -> bool:
        return self.row.what is What.FILE

    @property
    def hidden_by(self) -> int | None:
        """Number of the layer that removed it, from 1."""
        return self.row.hidden_by + 1 if self.row.hidden_by >= 0 else None


@dataclass(frozen=True, slots=True)
class Contents:
    """An image's files, ready to be looked at."""

    view: ImageView
    layers: tuple[str, ...]
    """Digests of the blobs, lowest first."""
    repository: str
    digest: str


def index_settings(config: Config) -> IndexSettings:
    """What `[insight]` says."""
    insight = config.insight
    return IndexSettings(
        max_layer_bytes=insight.max_layer_bytes,
        skip_projects=insight.skip_projects,
        memory_bytes=insight.memory,
        timeout_s=insight.timeout,
    )


async def open_contents(services: Services, actor: Actor, repository: str, digest: str) -> Contents:
    """The files of the image whose manifest it is. Needs pull.

    Raises NotFound, AccessDenied; FilesNotListed with the reason when there is nothing to look at (yet).
    """

    def see(t: Transaction) -> tuple[bytes, Derived | None]:
        t.require(Action.PULL, repository=repository)
        repo_id = content.get_repository(t.connection, repository).id
        row = content.get_manifest_row(t.connection, repo_id, digest)
        return row.body, records.find(t.connection, IMAGE_FILES, [digest]).get(digest)

    body, made = await look(services, actor, see)
    if made is None:
        raise FilesNotListed(_not_yet(services))
    if made.state != "ready":
        raise FilesNotListed(f"the files can't be listed: {clean_text(made.reason or made.state)}")
    listed = read_object(body).get("layers")
    layers = tuple(str(layer.get("digest")) for layer in listed or () if isinstance(layer, dict))
    for layer in set(layers):
        if await services.blobs.find(repository, Digest.parse(layer)) is None:
            raise FilesNotListed(f"layer {layer} is not in this repository")
    try:
        view = await ImageView.open(services.store, made)
    except BlobMissing:
        # Its list was removed, as it may be at any time; the next look makes it again.
        await services.catalog.write(records.forget, IMAGE_FILES, [digest])
        raise FilesNotListed(_not_yet(services)) from None
    return Contents(view, layers, repository, digest)


def _not_yet(services: Services) -> str:
    if not services.config.insight.enabled:
        return "this registry does not look into images (insight.enabled is off)"
    return "the files have not been listed yet; that happens within a minute or two of a push"


async def list_files(
    contents: Contents,
    folder: Path,
    *,
    deep: bool = False,
    by_size: bool = False,
    hidden: bool = True,
    after: Path = (),
    n: int = MAX_LISTED,
) -> list[FileRow]:
    """What is in a folder, or all below it; `n` at most, from `after` on (by name).

    By size, largest first, is only done for up to 20,000 rows. Raises NoSuchFileInImage.
    """
    if folder:
        found = await contents.view.find(folder)
        if found is None or not found.is_directory:
            raise NoSuchFileInImage(f"there is no folder {shown_path(folder)} in the image")
    key = (after[:-1], after[-1] + b"\0") if after else None
    rows = (
        contents.view.below(folder, after=key)
        if deep
        else contents.view.folder(folder, after=key[1] if key else b"")
    )
    kept: list[ViewRow] = []
    most = MAX_SORTED if by_size else n
    async with aclosing(rows) as source:
        async for row in source:
            if row.hidden_by >= 0 and not hidden:
                continue
            kept.append(row)
            if len(kept) >= most:
                break
    if by_size:
        kept.sort(key=lambda row: (-row.size, row.path))
    return [file_row(row) for row in kept[:n]]


async def find_file(contents: Contents, path: Path) -> FileRow:
    """What is at a path, links followed. Raises NoSuchFileInImage."""
    _real, row = await contents.view.resolve(path)
    if row is None:
        raise NoSuchFileInImage(f"there is nothing at {shown_path(path)} in the image")
    return file_row(row)


async def read_file(services: Services, contents: Contents, row: FileRow) -> AsyncGenerator[bytes, None]:
    """A file's bytes, read in a process of its own. Close it when it is not read to its end."""
    wanted = [WantedFile(row.row.offset, row.row.size, row.row.segments)]
    async with aclosing(_content(services, contents, row.row.source, wanted)) as pieces:
        async for piece in pieces:
            yield piece


async def _content(
    services: Services, contents: Contents, layer: int, wanted: Sequence[WantedFile]
) -> AsyncGenerator[bytes, None]:
    stored = await services.blobs.find(contents.repository, Digest.parse(contents.layers[layer]))
    if stored is None:
        raise BlobMissing(f"layer {contents.layers[layer]} is not in this repository any more")
    found = stored

    async def blob() -> AsyncGenerator[bytes, None]:
        async with aclosing(await services.blobs.open(found)) as stream:
            async for piece in stream:
                yield piece

    request = ReadRequest(Limits(READ_MEMORY, int(READ_TIMEOUT_S), nice=0), wanted=list(wanted))
    async with aclosing(read_apart("content", request, blob(), timeout_s=READ_TIMEOUT_S)) as answer:
        async for piece in answer:
            yield piece


async def read_tar(services: Services, contents: Contents, folder: Path) -> AsyncGenerator[bytes, None]:
    """A folder as a tar, by its own name: folders, links and devices first, then files layer by layer.

    Raises NoSuchFileInImage before the first piece when it is asked for more than 100,000 names.
    """
    rows: list[ViewRow] = []
    async with aclosing(contents.view.below(folder)) as source:
        async for row in source:
            if row.hidden_by < 0:
                rows.append(row)
            if len(rows) > MAX_TAR_FILES:  # here: an image may have millions, and the rows are held
                raise NoSuchFileInImage(
                    f"{shown_path(folder)} has more than {MAX_TAR_FILES} names; take less of it"
                )
    buffer = _Buffer()
    writer = TarWriter(buffer)
    files: dict[tuple[int, int], list[ViewRow]] = {}
    base = folder[:-1]
    for row in rows:
        if row.what is What.FILE:
            files.setdefault((row.source, row.offset), []).append(row)
        else:
            writer.add(_tar_entry(row, base))
    for layer in sorted({layer for layer, _ in files}):
        keys = sorted(key for key in files if key[0] == layer)
        wanted = [
            WantedFile(files[key][0].offset, files[key][0].size, files[key][0].segments) for key in keys
        ]
        pieces = _content(services, contents, layer, wanted)
        async with aclosing(pieces) as stream:
            rest = b""
            for key in keys:
                first, *others = files[key]
                yield buffer.take() + _header(first, base)
                left = first.size
                while left:
                    rest = rest or await anext(stream)
                    piece, rest = rest[:left], rest[left:]
                    left -= len(piece)
                    yield piece
                buffer.write(bytes(-first.size % 512))
                for other in others:
                    writer.add(
                        Entry(
                            _name(other, base), Kind.HARD_LINK, other.mode, other.uid, other.gid,
                            link=_name(first, base),
                        )
                    )  # fmt: skip
    writer.close()
    yield buffer.take()


class _Buffer:
    """Where the tar's small parts wait."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes | memoryview) -> None:
        self._data += data

    def take(self) -> bytes:
        taken, self._data = bytes(self._data), bytearray()
        return taken


def _header(row: ViewRow, base: Path) -> bytes:
    buffer = _Buffer()
    entry = _tar_entry(row, base)
    TarWriter(buffer).add_header(entry)
    return buffer.take()


_KINDS = {
    What.FILE: Kind.FILE,
    What.HARD_LINK: Kind.HARD_LINK,
    What.SYMLINK: Kind.SYMLINK,
    What.CHAR_DEVICE: Kind.CHAR_DEVICE,
    What.BLOCK_DEVICE: Kind.BLOCK_DEVICE,
    What.DIRECTORY: Kind.DIRECTORY,
    What.FIFO: Kind.FIFO,
}


def _tar_entry(row: ViewRow, base: Path) -> Entry:
    return Entry(
        _name(row, base),
        _KINDS[row.what],
        row.mode,
        row.uid,
        row.gid,
        row.size if row.what is What.FILE else 0,
        row.mtime_ns,
        row.link if row.what is What.SYMLINK else b"",
        row.major,
        row.minor,
    )


def _name(row: ViewRow, base: Path) -> bytes:
    return join(row.path[len(base) :])


def shown_path(path: Path, *, is_directory: bool = False) -> str:
    """For pages and answers: text, whatever the bytes are."""
    return visible(path_text(path, is_directory=is_directory))


def file_row(row: ViewRow) -> FileRow:
    """A row for people."""
    entry = LayerEntry(row.what, row.path, row.mode)
    return FileRow(
        row,
        shown_path(row.path, is_directory=row.is_directory),
        visible(os.fsdecode(row.path[-1])) if row.path else "/",
        kind_name(row.what),
        mode_text(entry),
        visible(os.fsdecode(row.link)),
    )


@dataclass(frozen=True, slots=True)
class FileDifferenceRow:
    """A path that is not the same in both images."""

    kind: str
    """`added`, `removed`, `changed`."""
    before: FileRow | None
    after: FileRow | None

    @property
    def path(self) -> str:
        found = self.after or self.before
        return found.path if found is not None else ""

    @property
    def size_change(self) -> int:
        before = self.before.row.size if self.before is not None else 0
        after = self.after.row.size if self.after is not None else 0
        return after - before


async def compare_files(before: Contents, after: Contents, *, n: int = 500) -> list[FileDifferenceRow]:
    """What one image has and the other has not, folder by folder; `n` at most. Times alone don't count."""
    found: list[FileDifferenceRow] = []
    left, right = _present(before), _present(after)
    async with aclosing(left), aclosing(right):
        old, new = await anext(left, None), await anext(right, None)
        while (old is not None or new is not None) and len(found) < n:
            if new is None or (old is not None and old.key < new.key):
                assert old is not None
                found.append(FileDifferenceRow("removed", file_row(old), None))
                old = await anext(left, None)
            elif old is None or new.key < old.key:
                found.append(FileDifferenceRow("added", None, file_row(new)))
                new = await anext(right, None)
            else:
                if _differs(old, new):
                    found.append(FileDifferenceRow("changed", file_row(old), file_row(new)))
                old, new = await anext(left, None), await anext(right, None)
    return found


async def _present(contents: Contents) -> AsyncGenerator[ViewRow, None]:
    async for row in contents.view.below(()):
        if row.hidden_by < 0:
            yield row


def _differs(old: ViewRow, new: ViewRow) -> bool:
    if (old.what, old.mode, old.uid, old.gid) != (new.what, new.mode, new.uid, new.gid):
        return True
    if old.is_directory:
        return False
    if (old.size, old.link, old.major, old.minor) != (new.size, new.link, new.major, new.minor):
        return True
    return old.what is What.FILE and bool(old.size) and (not old.sha256 or old.sha256 != new.sha256)
