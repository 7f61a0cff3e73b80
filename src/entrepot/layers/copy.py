"""Copies files between a container and the host, in either direction, as hostile as a layer.

The source is walked and the target is written through directory descriptors; links are kept, never followed,
and
what is copied out can reach nothing outside of the place it is copied to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from msgspec import Struct

from entrepot.layers.directory import O_READ_DIRECTORY, names_in
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.errors import LayerLimitExceeded
from entrepot.layers.limits import DEFAULT_LIMITS
from entrepot.layers.paths import join
from entrepot.layers.tar_writer import TarWriter
from entrepot.layers.walk import entry_at, file_data


class Found(Struct):
    """One file on the way from its source; valid until the next."""

    entry: Entry
    dir_fd: int
    name: bytes
    status: os.stat_result


class EntryStream:
    """Files of a directory as a reader of `LayerApplier`: entries, and the current one's data."""

    def __init__(self, found: Iterator[Found]) -> None:
        self._found = found
        self._first = b""
        self._rest: Iterator[bytes] = iter(())
        self._links: dict[tuple[int, int], bytes] = {}

    def __iter__(self) -> Iterator[Entry]:
        for found in self._found:
            _mark_hard_link(found, self._links)
            # Read from before anything is made at the target: a file that can't be read leaves that as it is.
            is_file = found.entry.kind is Kind.FILE
            self._rest = file_data(found.dir_fd, found.name, found.entry.size) if is_file else iter(())
            self._first = next(self._rest, b"")
            yield found.entry

    def data(self) -> Iterator[tuple[int, memoryview]]:
        """As `TarReader.data`."""
        yield 0, memoryview(self._first)
        at = len(self._first)
        for piece in self._rest:
            yield at, memoryview(piece)
            at += len(piece)


def found_below(dir_fd: int, name: bytes, shown_as: bytes) -> Iterator[Found]:
    """An entry of an open directory and, for a directory, everything below it, named from `shown_as` on.

    An empty `shown_as` leaves out the directory itself. Sockets are left out.
    """
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    yield from _found(dir_fd, name, status, tuple(part for part in shown_as.split(b"/") if part), 0)


def _found(
    dir_fd: int, name: bytes, status: os.stat_result, shown: tuple[bytes, ...], depth: int
) -> Iterator[Found]:
    if depth > DEFAULT_LIMITS.max_depth:
        raise LayerLimitExceeded(
            f"{join(shown)[:80]!r}… is more than {DEFAULT_LIMITS.max_depth} directories deep"
        )
    entry = entry_at(dir_fd, name, status, join(shown))
    if entry is None:
        return
    if shown:
        yield Found(entry, dir_fd, name, status)
    if entry.kind is not Kind.DIRECTORY:
        return
    fd = os.open(name, O_READ_DIRECTORY, dir_fd=dir_fd)
    try:
        for child in names_in(fd):
            try:
                below = os.stat(child, dir_fd=fd, follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield from _found(fd, child, below, (*shown, child), depth + 1)
    finally:
        os.close(fd)


def changed(found: Iterator[Found], change: Callable[[Entry], None]) -> Iterator[Found]:
    """The same files with their entries changed on the way."""
    for each in found:
        change(each.entry)
        yield each


def write_found(writer: TarWriter, found: Iterator[Found]) -> None:
    """Files as a tar stream, its end included."""
    links: dict[tuple[int, int], bytes] = {}
    for each in found:
        _mark_hard_link(each, links)
        entry = each.entry
        data = file_data(each.dir_fd, each.name, entry.size) if entry.kind is Kind.FILE else ()
        writer.add(entry, data)
    writer.close()


def _mark_hard_link(found: Found, links: dict[tuple[int, int], bytes]) -> None:
    status, entry = found.status, found.entry
    if entry.kind is Kind.DIRECTORY or status.st_nlink < 2:
        return
    key = (status.st_dev, status.st_ino)
    first = links.setdefault(key, entry.name)
    if first != entry.name:
        entry.kind, entry.link, entry.size = Kind.HARD_LINK, first, 0


def is_directory(status: os.stat_result) -> bool:
    """Whether a status is a directory's."""
    return stat.S_ISDIR(status.st_mode)
