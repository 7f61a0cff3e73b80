"""Where an image's bytes are: by folder, by layer, and those that nobody can see."""

from __future__ import annotations

from msgspec import Struct

from entrepot.inventory.files.entries import What
from entrepot.inventory.files.tree import Tree, TreeNode
from entrepot.layers.paths import Path


class FolderSize(Struct):
    """A folder with what is below it; a file stands for itself."""

    path: Path
    size: int
    """Bytes of all files below, a file with several names once (at its first name in byte order)."""
    files: int
    is_directory: bool
    children: list[FolderSize]
    """Largest first."""


class WastedFile(Struct, frozen=True):
    """A path that layers have more than once, or that a later one removed."""

    path: Path
    size: int
    """Of all its copies together."""
    copies: int
    removed: bool
    """The image does not show it."""


class Waste(Struct, frozen=True):
    """Bytes that are stored and carried for nothing."""

    files: tuple[WastedFile, ...]
    """Largest first."""
    wasted_bytes: int
    efficiency: float
    """1 when nothing is stored twice."""


def folder_sizes(tree: Tree) -> FolderSize:
    """The whole tree, summed up."""
    return _sized(tree.root, (), set())


def _sized(root: TreeNode, path: Path, seen: set[tuple[int, int]]) -> FolderSize:
    top = FolderSize(path, 0, 0, True, [])
    # Parents are made before their children, so that adding up goes backwards.
    made: list[tuple[FolderSize, FolderSize]] = []
    waiting = [(top, root)]
    while waiting:
        folder, node = waiting.pop()
        for name, child in sorted((node.children or {}).items()):
            size, files = _own_size(child, seen)
            found = FolderSize((*folder.path, name), size, files, child.is_directory, [])
            folder.children.append(found)
            made.append((folder, found))
            if child.is_directory:
                waiting.append((found, child))
    for folder, found in reversed(made):
        folder.size += found.size
        folder.files += found.files
    for folder in (top, *(found for _, found in made)):
        folder.children.sort(key=lambda each: (-each.size, each.path))
    return top


def _own_size(node: TreeNode, seen: set[tuple[int, int]]) -> tuple[int, int]:
    if node.entry.what is not What.FILE:
        return 0, 0
    key = (node.source, node.entry.offset)
    if key in seen:
        return 0, 1
    seen.add(key)
    return node.entry.size, 1


def waste_of(tree: Tree) -> Waste:
    """Wasted bytes as dive counts them: every copy of a path that is in more than one layer, or in one and
    removed in a later.

    Files in a removed folder count one by one; dive passes them over, since it looks for the folder's own
    name only. Efficiency is what would be left with one copy of each path, the smallest, by what is there.
    """
    wasted: list[WastedFile] = []
    least = total = 0
    for path, copies in tree.copies.items():
        size = sum(copies.sizes)
        total += size
        least += 0 if copies.removals else min(copies.sizes)
        if len(copies.sizes) + copies.removals > 1 and size:
            wasted.append(WastedFile(path, size, len(copies.sizes), copies.last_removed))
    wasted.sort(key=lambda each: (-each.size, each.path))
    return Waste(tuple(wasted), sum(each.size for each in wasted), least / total if total else 1.0)
