"""The tree that an image's layers make, in memory, by the rules `layers.apply` unpacks with.

Layers are applied from the lowest up. Parents are looked up through symlinks, whiteouts leave alone what
their own layer has put there, hard links share the file they name. The tree remembers who brought, changed
and hid each name, and how often each path's bytes are in the layers.

A tree may begin above the lowest layer (`complete=False`): then `find` tells what is certain from what a
layer below may still say. image-spec: Applying Changesets.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from enum import Enum

from msgspec import Struct

from entrepot.inventory.files.entries import LayerEntry, What
from entrepot.layers.directory import MAX_LINKS
from entrepot.layers.errors import InvalidLayer, LayerLimitExceeded, UnsafePath
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits
from entrepot.layers.paths import Path, join, link_parts, parse_path

MAX_NODES = 8_000_000
"""Names of a tree: symlinks to long paths that are not there make many directories of few entries."""

_ROOT = LayerEntry(What.DIRECTORY, (), mode=0o755)


class Gone(Struct):
    """A name that a layer brought and a later one hid."""

    node: TreeNode
    hidden_by: int
    """Number of the layer."""


class TreeNode:
    """One name of the tree. Layers are numbered from 0, the lowest."""

    __slots__ = (
        "brought",
        "children",
        "entry",
        "gone",
        "hidden",
        "implied",
        "layer",
        "opaque",
        "source",
        "touched",
    )

    def __init__(self, entry: LayerEntry, layer: int, *, implied: bool = False) -> None:
        self.entry = entry
        """Attributes; of a hard link, those of the file it is a name of."""
        self.brought = layer
        """The layer that put something here that stayed."""
        self.layer = layer
        """The layer that spoke of it last."""
        self.source = layer
        """The layer that has the content."""
        self.touched = layer
        """The last layer that put it or something below it here."""
        self.children: dict[bytes, TreeNode] | None = {} if entry.what is What.DIRECTORY else None
        self.implied = implied
        """A directory that no entry describes."""
        self.gone: dict[bytes, Gone] | None = None
        self.hidden: set[bytes] | None = None
        self.opaque = False

    @property
    def is_directory(self) -> bool:
        return self.children is not None

    @property
    def changed(self) -> bool:
        """Whether a later layer than the one that brought it spoke of it."""
        return self.layer != self.brought


class Sight(Enum):
    """How sure an answer is."""

    FOUND = "found"
    ABSENT = "absent"
    UNKNOWN = "unknown"
    """A layer below has to be asked."""


class Copies(Struct):
    """How often a path's bytes are in the layers."""

    sizes: list[int]
    """Of each time a layer has the file, lowest first."""
    removals: int = 0
    last_removed: bool = False


class Tree:
    """Grows by `apply`. Not thread safe while it does."""

    def __init__(
        self, *, complete: bool = True, limits: UnpackLimits = DEFAULT_LIMITS, max_nodes: int = MAX_NODES
    ) -> None:
        self.root = TreeNode(_ROOT, 0, implied=True)
        self.copies: dict[Path, Copies] = {}
        self._complete = complete
        self._limits = limits
        self._left = max_nodes
        self._memo: tuple[Path, list[TreeNode], Path] | None = None
        self._written: dict[Path, int] = {}
        self._floating: set[bytes] | None = None
        self._all_float = False

    def apply(self, entries: Iterable[LayerEntry], layer: int) -> None:
        """Put one layer on top. Raises InvalidLayer, UnsafePath, LayerLimitExceeded; the tree is then of no
        further use."""
        self._written = {}
        self._memo = None
        self._floating, self._all_float = None, False
        for entry in entries:
            self._apply_entry(entry, layer)
        for path, size in self._written.items():
            known = self.copies.get(path)
            if known is None:
                self.copies[path] = Copies([size])
            else:
                known.sizes.append(size)
                known.last_removed = False

    # One entry.

    def _apply_entry(self, entry: LayerEntry, layer: int) -> None:
        path = entry.path
        if entry.what is What.EMPTIED:
            stack, real = self._directory(path, layer)
            self._empty(stack[-1], real, layer)
            stack[-1].opaque = True
            return
        if not path:
            if entry.what is not What.DIRECTORY:
                raise InvalidLayer("an entry would replace the root directory")
            self._describe(self.root, entry, layer)
            return
        stack, above = self._directory(path[:-1], layer)
        parent, name = stack[-1], path[-1]
        real = (*above, name)
        if entry.what is What.REMOVED:
            self._remove(parent, name, real, layer)
            return
        for node in stack:
            node.touched = layer
        if entry.what is What.DIRECTORY:
            self._put_directory(parent, entry, real, layer)
        elif entry.what is What.HARD_LINK:
            self._put_link(parent, entry, real, layer)
        else:
            self._put(parent, TreeNode(entry, layer), real)
            self._written[real] = entry.size if entry.what is What.FILE else 0

    def _put(self, parent: TreeNode, node: TreeNode, path: Path) -> None:
        assert parent.children is not None
        old = parent.children.get(path[-1])
        if old is None:
            self._count()
        elif old.children is not None:
            self._note_gone(old, path)
            self._memo = None
        else:
            node.brought = old.brought
        if old is not None and old.entry.what is What.SYMLINK:
            self._memo = None
        parent.children[path[-1]] = node

    def _put_directory(self, parent: TreeNode, entry: LayerEntry, path: Path, layer: int) -> None:
        assert parent.children is not None
        old = parent.children.get(path[-1])
        if old is not None and old.children is not None:
            self._describe(old, entry, layer)
            return
        node = TreeNode(entry, layer)
        node.opaque = old is not None or (parent.hidden is not None and path[-1] in parent.hidden)
        if old is not None:
            self._note_gone(old, path)
        self._put(parent, node, path)

    def _describe(self, node: TreeNode, entry: LayerEntry, layer: int) -> None:
        if node.implied and node.layer == layer:
            node.brought = layer
        node.entry, node.layer, node.source, node.touched = entry, layer, layer, layer
        node.implied = False

    def _put_link(self, parent: TreeNode, entry: LayerEntry, path: Path, layer: int) -> None:
        target_path = parse_path(entry.link, self._limits)
        if not target_path:
            raise UnsafePath(f"hard link {join(path)!r} to the root directory")
        stack, above = self._walk(target_path[:-1], None)
        known = stack[-1].children if stack else None
        target = known.get(target_path[-1]) if known is not None else None
        if known is not None and (*above, target_path[-1]) == path:
            if target is not None:
                target.touched = layer
            return  # a name of itself
        if target is None:
            if self._complete:
                raise InvalidLayer(f"hard link {join(path)!r} to {entry.link!r}, which is not there")
            self._put(parent, TreeNode(entry, layer), path)
            return
        if target.children is not None:
            raise InvalidLayer(f"hard link {join(path)!r} to the directory {entry.link!r}")
        node = TreeNode(target.entry, layer)
        node.source = target.source
        self._put(parent, node, path)
        self._written[path] = 0

    # Directories on the way.

    def _directory(self, path: Path, layer: int) -> tuple[list[TreeNode], Path]:
        """The nodes from the root to a directory, made where missing, and its path without links."""
        if self._memo is not None and self._memo[0] == path:
            return self._memo[1], self._memo[2]
        stack, real = self._walk(path, layer)
        self._memo = (path, stack, real)
        return stack, real

    def _walk(self, path: Path, layer: int | None) -> tuple[list[TreeNode], Path]:
        """`layer` None makes nothing: an empty stack when there is no such directory."""
        stack, names = [self.root], list[bytes]()
        rest = list(reversed(path))
        links = 0
        while rest:
            name = rest.pop()
            if name == b"..":
                if names:
                    names.pop()
                    stack.pop()
                continue
            children = stack[-1].children
            assert children is not None
            child = children.get(name)
            if child is None:
                if layer is None:
                    return [], ()
                child = self._imply(stack[-1], name, layer)
            if child.children is not None:
                stack.append(child)
                names.append(name)
                if len(names) > self._limits.max_depth:
                    raise LayerLimitExceeded(f"{join(path)[:80]!r}… is too many directories deep")
                continue
            if child.entry.what is not What.SYMLINK:
                if layer is None:
                    return [], ()
                raise InvalidLayer(
                    f"{join((*names, name))!r} is no directory, but the layer has entries below it"
                )
            links += 1
            if links > MAX_LINKS:
                raise UnsafePath(f"too many symbolic links on the way to {join(path)!r}")
            absolute, parts = link_parts(child.entry.link)
            if absolute:
                del stack[1:], names[:]
            rest.extend(reversed(parts))
        return stack, tuple(names)

    def _imply(self, parent: TreeNode, name: bytes, layer: int) -> TreeNode:
        self._count()
        node = TreeNode(LayerEntry(What.DIRECTORY, (), mode=0o755), layer, implied=True)
        node.opaque = parent.hidden is not None and name in parent.hidden
        node.touched = -1  # a whiteout below puts nothing here
        assert parent.children is not None
        parent.children[name] = node
        return node

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise LayerLimitExceeded("the image's layers make more names than can be listed")

    # What goes.

    def _remove(self, parent: TreeNode, name: bytes, path: Path, layer: int) -> None:
        assert parent.children is not None
        child = parent.children.get(name)
        if child is not None and child.touched == layer:
            if child.children is not None:
                self._empty(child, path, layer)
                child.opaque = True
            return
        parent.hidden = parent.hidden if parent.hidden is not None else set()
        parent.hidden.add(name)
        if child is None:
            return
        del parent.children[name]
        self._memo = None
        self._note_gone(child, path)
        parent.gone = parent.gone if parent.gone is not None else {}
        parent.gone[name] = Gone(child, layer)

    def _empty(self, node: TreeNode, path: Path, layer: int) -> None:
        assert node.children is not None
        for name in list(node.children):
            self._remove(node, name, (*path, name), layer)

    def _note_gone(self, node: TreeNode, path: Path) -> None:
        """Count the files below a name that a layer took away; what the same layer wrote counts as never
        written."""
        waiting = [(path, node)]
        while waiting:
            here, each = waiting.pop()
            if each.children is not None:
                waiting += [((*here, name), child) for name, child in each.children.items()]
                continue
            self._written.pop(here, None)
            known = self.copies.get(here)
            if known is not None and not known.last_removed:
                known.removals += 1
                known.last_removed = True

    # Looking.

    def find(self, path: Path) -> tuple[Sight, TreeNode | None]:
        """What is at a path without links. Never UNKNOWN in a complete tree."""
        node = self.root
        for depth, name in enumerate(path):
            if node.children is None:
                return Sight.ABSENT, None
            child = node.children.get(name)
            if not self._complete and (self._may_move(name) or (child is None and self._shows(node, name))):
                return Sight.UNKNOWN, None
            if child is None:
                return Sight.ABSENT, None
            if not self._complete and child.implied and depth == len(path) - 1:
                return Sight.UNKNOWN, None
            node = child
        if not self._complete and node.entry.what is What.HARD_LINK:
            return Sight.UNKNOWN, None
        return Sight.FOUND, node

    def resolve(self, path: Path, *, follow_last: bool = True) -> tuple[Sight, Path]:
        """The path with symlinks resolved inside of the tree, and how sure that is.

        ABSENT: the rest stays as named. UNKNOWN: so far it is known. Raises UnsafePath after 40 links.
        """
        names = list[bytes]()
        rest = list(reversed(path))
        links = 0
        sight = Sight.FOUND
        while rest:
            name = rest.pop()
            if name == b"..":
                if names:
                    names.pop()
                continue
            sight, node = self.find((*names, name))
            if sight is Sight.UNKNOWN:
                return sight, (*names, name, *reversed(rest))
            if node is None or node.entry.what is not What.SYMLINK or not (rest or follow_last):
                names.append(name)
                continue
            links += 1
            if links > MAX_LINKS:
                raise UnsafePath(f"too many symbolic links on the way to {join(path)!r}")
            absolute, parts = link_parts(node.entry.link)
            if absolute:
                names.clear()
            rest.extend(reversed(parts))
        return sight, tuple(names)

    def _shows(self, node: TreeNode, name: bytes) -> bool:
        """Whether what lower layers have at the name would be seen."""
        return not node.opaque and (node.hidden is None or name not in node.hidden)

    def _may_move(self, name: bytes) -> bool:
        """Whether the name is in a directory that no layer here describes: below, that may be a link that
        leads to where the name is looked for."""
        if self._floating is None:
            self._floating = set()
            waiting = [(child, child.implied) for child in (self.root.children or {}).values()]
            while waiting:
                node, floats = waiting.pop()
                if node.children is None:
                    continue
                if floats:
                    self._all_float = self._all_float or node.opaque
                    self._floating.update(node.children, node.hidden or ())
                waiting += [(child, floats or child.implied) for child in node.children.values()]
        return self._all_float or name in self._floating


def walk(node: TreeNode, path: Path = (), *, deep: bool = True) -> Iterator[tuple[Path, TreeNode]]:
    """Everything below a directory, parents first, names in byte order."""
    waiting = [(path, node)]
    first = True
    while waiting:
        here, each = waiting.pop()
        if not first:
            yield here, each
        if each.children is not None and (deep or first):
            below = sorted(each.children.items(), reverse=True)
            waiting += [((*here, name), child) for name, child in below]
        first = False
