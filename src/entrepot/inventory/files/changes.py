"""What one image's files have and another's have not."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct

from entrepot.inventory.files.entries import LayerEntry, What
from entrepot.inventory.files.tree import Tree, TreeNode
from entrepot.layers.diff import ChangeKind
from entrepot.layers.paths import Path


class FileChange(Struct, frozen=True):
    """One path. A folder that is only on one side is followed by what is in it."""

    kind: ChangeKind
    path: Path
    before: TreeNode | None
    after: TreeNode | None


def compare(before: Tree, after: Tree) -> Iterator[FileChange]:
    """From the first tree to the second, parents first, names in byte order.

    A file whose time alone differs is the same; contents are compared by their SHA-256.
    """
    yield from _compare(before.root, after.root, ())


def _compare(old: TreeNode, new: TreeNode, path: Path) -> Iterator[FileChange]:
    waiting: list[tuple[Path, TreeNode | None, TreeNode | None]] = _pairs(path, old, new)
    while waiting:
        here, was, now = waiting.pop()
        if was is None and now is not None:
            yield FileChange(ChangeKind.ADDED, here, None, now)
        elif now is None and was is not None:
            yield FileChange(ChangeKind.DELETED, here, was, None)
        elif was is not None and now is not None and differs(was.entry, now.entry):
            yield FileChange(ChangeKind.MODIFIED, here, was, now)
        waiting += _pairs(here, was, now)


def _pairs(
    path: Path, old: TreeNode | None, new: TreeNode | None
) -> list[tuple[Path, TreeNode | None, TreeNode | None]]:
    """What is below either, last name first."""
    was = (old.children if old is not None else None) or {}
    now = (new.children if new is not None else None) or {}
    names = sorted(was.keys() | now.keys(), reverse=True)
    return [((*path, name), was.get(name), now.get(name)) for name in names]


def differs(old: LayerEntry, new: LayerEntry) -> bool:
    """Whether two entries are more than a time apart."""
    if (old.what, old.mode, old.uid, old.gid, old.size) != (new.what, new.mode, new.uid, new.gid, new.size):
        return True
    if old.what is What.FILE and (not old.sha256 or old.sha256 != new.sha256):
        return bool(old.size)
    if old.what is What.SYMLINK and old.link != new.link:
        return True
    if (old.major, old.minor) != (new.major, new.minor):
        return True
    return old.xattrs.get(b"security.capability") != new.xattrs.get(b"security.capability")
