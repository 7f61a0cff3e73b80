"""What changed between trees, and the layer that says so.

`upper_changes` reads the upper directory of an overlay mount, where the kernel has put exactly what changed.
`tree_changes` compares two merged trees by what `stat` says, for containers that run on a copy and for
images.
Both give changes in walk order; `write_layer` turns them into a layer's tar stream.

docker's rules: a directory counts as changed when its owner or mode did; the parents of a change are listed
as
changed; a file's content counts as changed with its time or size. image-spec: Change Types.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum

from msgspec import Struct

from entrepot.layers.directory import O_READ_DIRECTORY
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.paths import Path, join
from entrepot.layers.tar_writer import TarWriter
from entrepot.layers.union import Child, Union, is_opaque, is_whiteout, merged_children
from entrepot.layers.walk import file_data
from entrepot.layers.whiteout import OPAQUE_NAME, PREFIX


class ChangeKind(Enum):
    """As docker prints it."""

    MODIFIED = "C"
    ADDED = "A"
    DELETED = "D"


class TreeChange(Struct):
    """One changed path. `child` can be read until the next change is asked for."""

    kind: ChangeKind
    path: Path
    entry: Entry | None = None
    """What is there now; None for a deletion."""
    child: Child | None = None
    opaque: bool = False
    """A directory that was removed and made anew: nothing of the lower layers' shows through."""
    in_layer: bool = True
    """A deletion that an opaque directory above says already is only listed."""
    listed: bool = True
    """Whether `diff` shows it: an unchanged directory above a change is in the layer but only shown as
    changed there."""

    def data(self) -> Iterator[bytes]:
        """The bytes of a file."""
        if self.child is None or self.entry is None:
            return iter(())
        return file_data(self.child.dir_fd, self.child.name, self.entry.size)


def upper_changes(upper: Union, lower: Union) -> Iterator[TreeChange]:
    """What an overlay mount's upper directory changes in `lower`."""
    yield from _upper(upper.roots[0], list(lower.roots), ())


def _upper(
    fd: int,
    lower_fds: Sequence[int],
    path: Path,
    *,
    hidden: bool = False,
) -> Iterator[TreeChange]:
    """`hidden`: an opaque directory lies above, so that what is only in the lower layers is gone."""
    below = merged_children(lower_fds) if lower_fds else {}
    listing = os.open(b".", O_READ_DIRECTORY, dir_fd=fd)
    try:
        with os.scandir(listing) as items:
            present = {os.fsencode(item.name) for item in items}
    finally:
        os.close(listing)
    for name in sorted(present | below.keys() if hidden else present):
        here = (*path, name)
        if name not in present:
            yield TreeChange(ChangeKind.DELETED, here, in_layer=False)
            continue
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        old = below.get(name)
        if is_whiteout(status):
            if old is not None:
                yield TreeChange(ChangeKind.DELETED, here)
            continue
        child = Child(name, fd, status, (fd,) if stat.S_ISDIR(status.st_mode) else ())
        entry = child.entry(join(here))
        if entry is None:
            continue
        kind = ChangeKind.ADDED if old is None else ChangeKind.MODIFIED
        if not child.is_directory:
            yield TreeChange(kind, here, entry, child)
            continue
        yield from _upper_directory(child, entry, old, here, hidden)


def _upper_directory(
    child: Child,
    entry: Entry,
    old: Child | None,
    here: Path,
    hidden: bool,
) -> Iterator[TreeChange]:
    with _opened(child) as inside:
        if not inside:
            return
        opaque = not hidden and old is not None and old.is_directory and is_opaque(inside[0])
        kind = ChangeKind.ADDED if old is None else ChangeKind.MODIFIED
        same = (
            old is not None
            and old.is_directory
            and not (opaque or hidden)
            and child.status.st_mtime_ns == old.status.st_mtime_ns
            and not _differs(old, child)
        )
        yield TreeChange(kind, here, entry, child, opaque=opaque, listed=not same)
        with _opened(old if old is not None and old.is_directory else None) as lower:
            yield from _upper(inside[0], lower, here, hidden=hidden or opaque)


@contextlib.contextmanager
def _opened(child: Child | None) -> Iterator[list[int]]:
    fds = child.open_directories() if child is not None else []
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


Same = Callable[[Child, Child], bool]
"""Whether a file of the old tree and one of the new, alike in size, owner and mode but not in time, are the
same."""


def tree_changes(new: Union, old: Union, *, same: Same | None = None) -> Iterator[TreeChange]:
    """What has to be done to `old` to get `new`. A file with another time counts as changed unless `same`
    says no."""
    yield from _trees(new.roots, old.roots, (), same)


def _trees(
    new_fds: Sequence[int],
    old_fds: Sequence[int],
    path: Path,
    same: Same | None,
) -> Iterator[TreeChange]:
    new_children, old_children = merged_children(new_fds), merged_children(old_fds)
    for name in sorted(new_children.keys() | old_children.keys()):
        here = (*path, name)
        new, old = new_children.get(name), old_children.get(name)
        if new is None:
            yield TreeChange(ChangeKind.DELETED, here)
            continue
        entry = new.entry(join(here))
        if entry is None:
            continue
        kind = ChangeKind.ADDED if old is None else ChangeKind.MODIFIED
        if not new.is_directory:
            if old is None or _file_differs(old, new, same):
                yield TreeChange(kind, here, entry, new)
            continue
        with _opened(new) as inside, _opened(old if old is not None and old.is_directory else None) as lower:
            deeper = _trees(inside, lower, here, same)
            differs = old is None or not old.is_directory or _differs(old, new)
            first = None if differs else next(deeper, None)
            if not differs and first is None:
                continue
            yield TreeChange(kind, here, entry, new)
            if first is not None:
                yield first
            yield from deeper


def _differs(old: Child, new: Child) -> bool:
    before, after = old.entry(b"", xattrs=True), new.entry(b"", xattrs=True)
    if before is None or after is None:
        return before is not after
    return (
        before.kind,
        before.uid,
        before.gid,
        before.mode,
        before.major,
        before.minor,
        before.link,
        before.xattrs.get(b"security.capability"),
    ) != (
        after.kind,
        after.uid,
        after.gid,
        after.mode,
        after.major,
        after.minor,
        after.link,
        after.xattrs.get(b"security.capability"),
    )


def _file_differs(old: Child, new: Child, same: Same | None) -> bool:
    a, b = old.status, new.status
    if (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino):
        return False
    if stat.S_IFMT(a.st_mode) != stat.S_IFMT(b.st_mode) or a.st_size != b.st_size or _differs(old, new):
        return True
    if a.st_mtime_ns == b.st_mtime_ns:
        return False
    return same is None or not same(old, new)


def same_content(old: Child, new: Child) -> bool:
    """Whether two entries of one size hold the same bytes."""
    if not stat.S_ISREG(old.status.st_mode):
        return True
    size = old.status.st_size
    left, right = file_data(old.dir_fd, old.name, size), file_data(new.dir_fd, new.name, size)
    return all(a == b for a, b in zip(left, right, strict=False))


def listed_changes(changes: Iterable[TreeChange]) -> list[tuple[ChangeKind, Path]]:
    """What `diff` prints: changes and, as changed, the directories above them; each path once, parents
    first."""
    shown: dict[Path, ChangeKind] = {}
    for change in changes:
        if not change.listed:
            continue
        for length in range(1, len(change.path)):
            shown.setdefault(change.path[:length], ChangeKind.MODIFIED)
        shown[change.path] = change.kind
    return [(kind, path) for path, kind in shown.items()]


def write_layer(writer: TarWriter, changes: Iterable[TreeChange]) -> int:
    """Write changes as a layer, the end of the archive included. Returns how many entries there were.

    A directory above a change comes first. The first name of a hard-linked file carries its bytes, later ones
    link to it.
    """
    links: dict[tuple[int, int], bytes] = {}
    count = 0
    for change in changes:
        if not change.in_layer:
            continue
        count += 1
        if change.entry is None or change.child is None:
            writer.add(_whiteout(join((*change.path[:-1], PREFIX + change.path[-1]))))
            continue
        add_entry(writer, change.entry, change.child, links)
        if change.opaque:
            marker = _whiteout(join((*change.path, OPAQUE_NAME)))
            marker.mode, marker.uid, marker.gid = change.entry.mode, change.entry.uid, change.entry.gid
            writer.add(marker)
    writer.close()
    return count


def _whiteout(name: bytes) -> Entry:
    return Entry(name, Kind.FILE, mode=0o600)


def add_entry(writer: TarWriter, entry: Entry, child: Child, links: dict[tuple[int, int], bytes]) -> None:
    """Write an entry with its data; `links` remembers, from call to call, the first name of each hard-linked
    file."""
    status = child.status
    if entry.kind is not Kind.DIRECTORY and status.st_nlink > 1:
        key = (status.st_dev, status.st_ino)
        first = links.get(key)
        if first is not None:
            entry.kind, entry.link, entry.size = Kind.HARD_LINK, first, 0
        else:
            links[key] = entry.name
    writer.add(entry, file_data(child.dir_fd, child.name, entry.size) if entry.kind is Kind.FILE else ())


def write_tree(writer: TarWriter, tree: Union) -> int:
    """Write a whole merged tree, the end of the archive included. Returns how many entries there were."""
    links: dict[tuple[int, int], bytes] = {}
    count = 0
    for visit in tree.walk():
        add_entry(writer, visit.entry, visit.child, links)
        count += 1
    writer.close()
    return count
