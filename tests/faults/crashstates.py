"""A disk in memory that knows what a power cut may leave of it.

It stands in for `FileOps`. Beside what a running system sees it keeps what is certain: a file's bytes as
of its last fsync, a directory's names as of its last fsync. From the difference it builds every state
that a crash at this moment may legally leave: any subset of the unsynced names of each directory, and of
each unsynced file the old bytes, the new ones, a torn half, or zeros of the right length.
"""

import errno
import itertools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from entrepot.server.storage.filesystem.ops import FileOps, FolderEntry

Chunk = bytes | bytearray | memoryview
MAX_STATES = 2_000
"""Looked at per moment; a script of few operations stays far below."""


@dataclass(eq=False)
class File:
    data: bytearray = field(default_factory=bytearray)
    synced: bytes = b""

    def after_crash(self) -> list[bytes]:
        """What may be in it, without repeats."""
        now = bytes(self.data)
        if now == self.synced:
            return [now]
        return list(dict.fromkeys([self.synced, now, now[: len(now) // 2], bytes(len(now))]))


@dataclass(eq=False)
class Directory:
    entries: "dict[str, File | Directory]" = field(default_factory=dict)
    durable: "dict[str, File | Directory]" = field(default_factory=dict)
    pending: "list[tuple[str, File | Directory | None]]" = field(default_factory=list)

    def change(self, name: str, node: "File | Directory | None") -> None:
        if node is None:
            self.entries.pop(name)
        else:
            self.entries[name] = node
        self.pending.append((name, node))

    def sync(self) -> None:
        self.durable = dict(self.entries)
        self.pending.clear()

    def after_crash(self) -> "Iterator[dict[str, File | Directory]]":
        """Every set of names it may have: each unsynced change got through or did not."""
        for chosen in itertools.product((False, True), repeat=len(self.pending)):
            names = dict(self.durable)
            for took, (name, node) in zip(chosen, self.pending, strict=True):
                if took and node is None:
                    names.pop(name, None)
                elif took and node is not None:
                    names[name] = node
            yield names


class SimulatedDisk(FileOps):
    """`after_each(disk)` is called after every operation that changes something.

    Each is a moment to crash at.
    """

    def __init__(self, root: Path, after_each: "Callable[[SimulatedDisk], None] | None" = None) -> None:
        self._root = Directory()
        self._base = root
        self._open: dict[int, File] = {}
        self._numbers = itertools.count(1000)
        self._lock = threading.RLock()
        self.after_each = after_each
        self.log: list[str] = []

    # FileOps

    def open_append(self, path: Path) -> int:
        with self._lock:
            parent = self._directory(path.parent)
            node = parent.entries.get(path.name)
            if node is None:
                node = File()
                parent.change(path.name, node)
                self._did(f"create {path.name}")
            return self._opened(node)

    def open_write(self, path: Path) -> int:
        with self._lock:
            return self._opened(self._find(path))

    def open_read(self, path: Path) -> int:
        with self._lock:
            return self._opened(self._find(path))

    def close(self, fd: int) -> None:
        with self._lock:
            del self._open[fd]

    def write(self, fd: int, buffers: Sequence[Chunk], offset: int) -> None:
        with self._lock:
            file, data = self._open[fd], b"".join(buffers)
            file.data.extend(bytes(max(0, offset - len(file.data))))
            file.data[offset : offset + len(data)] = data
            self._did("write")

    def read(self, fd: int, size: int, offset: int) -> bytes:
        return bytes(self._open[fd].data[offset : offset + size])

    def is_cached(self, fd: int, offset: int, size: int) -> bool:
        return False

    def truncate(self, fd: int, size: int) -> None:
        with self._lock:
            del self._open[fd].data[size:]
            self._did("truncate")

    def start_writeback(self, fd: int, offset: int, size: int) -> None:
        return None

    def fsync(self, fd: int) -> None:
        with self._lock:
            file = self._open[fd]
            file.synced = bytes(file.data)
            self._did("fsync")

    def fsync_directory(self, path: Path) -> None:
        with self._lock:
            if path == self._base.parent or path in self._base.parent.parents:
                return
            self._directory(path).sync()
            self._did(f"fsync-directory {path.name}")

    def rename(self, source: Path, target: Path) -> None:
        with self._lock:
            node = self._find(source)
            self._directory(target.parent).change(target.name, node)
            self._directory(source.parent).change(source.name, None)
            self._did(f"rename {source.name} {target.name}")

    def unlink(self, path: Path) -> None:
        with self._lock:
            self._find(path)
            self._directory(path.parent).change(path.name, None)
            self._did(f"unlink {path.name}")

    def make_directory(self, path: Path) -> bool:
        with self._lock:
            if path == self._base:
                return False
            parent = self._directory(path.parent)
            if path.name in parent.entries:
                return False
            parent.change(path.name, Directory())
            self._did(f"mkdir {path.name}")
            return True

    def make_private(self, path: Path) -> None:
        return None

    def size(self, path: Path) -> int | None:
        with self._lock:
            try:
                node = self._find(path)
            except FileNotFoundError:
                return None
            return len(node.data) if isinstance(node, File) else 0

    def open_size(self, fd: int) -> int:
        return len(self._open[fd].data)

    def free_bytes(self, path: Path) -> int:
        return 1 << 40

    def entries(self, path: Path) -> Iterator[FolderEntry]:
        with self._lock:
            for name, node in list(self._directory(path).entries.items()):
                is_file = isinstance(node, File)
                yield FolderEntry(name, not is_file, len(node.data) if isinstance(node, File) else 0, 0.0)

    # After a crash

    def crash_states(self) -> Iterator[Mapping[str, bytes]]:
        """Every legal tree as {path below the root: bytes}, at most MAX_STATES."""
        yield from itertools.islice(self._trees(self._root, ""), MAX_STATES)

    def _trees(self, directory: Directory, prefix: str) -> Iterator[dict[str, bytes]]:
        for names in directory.after_crash():
            parts = [self._versions(node, prefix + name) for name, node in names.items()]
            for combined in itertools.product(*parts):
                tree: dict[str, bytes] = {}
                for part in combined:
                    tree.update(part)
                yield tree

    def _versions(self, node: File | Directory, path: str) -> list[dict[str, bytes]]:
        if isinstance(node, File):
            return [{path: data} for data in node.after_crash()]
        return list(itertools.islice(self._trees(node, path + "/"), MAX_STATES))

    # Inside

    def _opened(self, node: File | Directory) -> int:
        assert isinstance(node, File)
        fd = next(self._numbers)
        self._open[fd] = node
        return fd

    def _did(self, what: str) -> None:
        self.log.append(what)
        if self.after_each is not None:
            self.after_each(self)

    def _directory(self, path: Path) -> Directory:
        node = self._find(path)
        assert isinstance(node, Directory)
        return node

    def _find(self, path: Path) -> File | Directory:
        node: File | Directory = self._root
        for part in path.relative_to(self._base).parts:
            if not isinstance(node, Directory) or part not in node.entries:
                raise FileNotFoundError(errno.ENOENT, "no such file", str(path))
            node = node.entries[part]
        return node
