"""A directory and what is below it, reached by descriptors alone.

The kernel is never asked to follow a link: each component is opened with O_NOFOLLOW relative to its
parent, and a symlink in the middle of a path is read here and resolved against this directory's root, so
that `..` and absolute targets end at the root. That stays true while a hostile process changes the tree.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

from entrepot.layers.errors import UnsafePath
from entrepot.layers.paths import Path, link_parts

O_PATH_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
O_READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
MAX_LINKS = 40
"""Symlinks followed for one path, as in the kernel."""
_CACHED_DIRECTORIES = 128
_REMOVE_DEPTH = 64
"""Directories held open while a tree is removed; deeper ones are moved up first."""

MissingDirectory = Callable[[int, Path], "bytes | None"]
"""Asked for a component that is neither directory nor symlink, with its parent's descriptor and its full
path: makes a
directory there and returns None, or returns the text of a symlink that a lower layer has there, or raises."""


def _refuse_missing(parent: int, path: Path) -> bytes | None:
    try:
        os.stat(path[-1], dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), b"/" + b"/".join(path)) from error
    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), b"/" + b"/".join(path))


class Directory:
    """The root of a tree. Owns its descriptor; close it or use it as a context manager."""

    def __init__(self, path: FilePath | str | bytes) -> None:
        """Opens a directory of ours (its own path is followed as usual)."""
        self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._cache: dict[Path, tuple[int, Path]] = {}

    def __enter__(self) -> Directory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all descriptors. May be called twice."""
        self.forget()
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def forget(self) -> None:
        """Drop what is remembered of the tree's shape: call it when a directory or symlink was replaced or
        removed."""
        for fd, _ in self._cache.values():
            os.close(fd)
        self._cache.clear()

    def open_directory(self, path: Path, missing: MissingDirectory = _refuse_missing) -> tuple[int, Path]:
        """A directory's O_PATH descriptor, links in `path` resolved inside of the root, and its path without
        links.

        The descriptor belongs to this object and is valid until the next call. Raises FileNotFoundError,
        NotADirectoryError, or UnsafePath after `MAX_LINKS` links.
        """
        if not path:
            return self.fd, path
        assert b".." not in path
        known = self._cache.get(path)
        if known is not None:
            return known
        parent = self._cache.get(path[:-1]) if len(path) > 1 else (self.fd, ())
        found: tuple[int, Path] | None = None
        if parent is not None:  # one step from a directory that is known
            with contextlib.suppress(OSError):
                found = os.open(path[-1], O_PATH_DIRECTORY, dir_fd=parent[0]), (*parent[1], path[-1])
        if found is None:
            found = self._walk(path, missing)
        if len(self._cache) >= _CACHED_DIRECTORIES:
            self.forget()
        self._cache[path] = found
        return found

    def _walk(self, path: Path, missing: MissingDirectory) -> tuple[int, Path]:
        stack: list[tuple[int, bytes]] = []  # descriptors below the root, with their names
        rest = list(reversed(path))
        links = 0
        try:
            while rest:
                name = rest.pop()
                if name == b"..":
                    if stack:
                        os.close(stack.pop()[0])
                    continue
                parent = stack[-1][0] if stack else self.fd
                here = (*(known for _, known in stack), name)
                target = self._step(parent, name, here, missing)
                if isinstance(target, int):
                    stack.append((target, name))
                    continue
                links += 1
                if links > MAX_LINKS:
                    raise UnsafePath(f"too many symbolic links on the way to {b'/'.join(path)!r}")
                absolute, parts = link_parts(target)
                if absolute:
                    while stack:
                        os.close(stack.pop()[0])
                rest.extend(reversed(parts))
            if not stack:
                return os.dup(self.fd), ()
            return stack.pop()[0], (*(known for _, known in stack), name)
        finally:
            for fd, _ in stack:
                os.close(fd)

    def _step(self, parent: int, name: bytes, here: Path, missing: MissingDirectory) -> int | bytes:
        """The descriptor of a directory, or the text of a symlink."""
        for _ in range(2):
            try:
                return os.open(name, O_PATH_DIRECTORY, dir_fd=parent)
            except FileNotFoundError:
                target = missing(parent, here)
                if target is not None:
                    return target
            except OSError as error:
                if error.errno not in (errno.ELOOP, errno.ENOTDIR):
                    raise
                try:
                    return os.readlink(name, dir_fd=parent)
                except OSError:
                    target = missing(parent, here)
                if target is not None:
                    return target
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), b"/" + b"/".join(here))

    def resolve(self, path: Path, *, follow_last: bool = True) -> Path:
        """The path without links, inside of the root; its last component need not exist. Raises as
        `open_directory`."""
        rest = list(reversed(path))
        current: list[bytes] = []
        links = 0
        while rest:
            name = rest.pop()
            if name == b"..":
                if current:
                    current.pop()
                continue
            fd, _ = self.open_directory(tuple(current))
            try:
                if not rest and not follow_last:
                    raise OSError
                target = os.readlink(name, dir_fd=fd)
            except OSError:
                current.append(name)
                continue
            links += 1
            if links > MAX_LINKS:
                raise UnsafePath(f"too many symbolic links on the way to {b'/'.join(path)!r}")
            absolute, parts = link_parts(target)
            if absolute:
                current.clear()
            rest.extend(reversed(parts))
        return tuple(current)

    def lstat(self, path: Path) -> os.stat_result:
        """The entry itself, whatever it is. Raises FileNotFoundError, NotADirectoryError."""
        if not path:
            return os.fstat(self.fd)
        fd, _ = self.open_directory(path[:-1])
        return os.stat(path[-1], dir_fd=fd, follow_symlinks=False)

    def read_file(self, path: Path, max_bytes: int = 1 << 20) -> bytes:
        """A small regular file's bytes, links followed inside of the root. Raises FileNotFoundError,
        UnsafePath."""
        path = self.resolve(path)
        fd, _ = self.open_directory(path[:-1])
        file = os.open(
            path[-1] if path else b".", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd
        )
        with os.fdopen(file, "rb") as stream:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise UnsafePath(f"/{os.fsdecode(b'/'.join(path))} is not a regular file")
            return stream.read(max_bytes)


def open_entry(dir_fd: int, name: bytes) -> int:
    """An O_PATH descriptor of the entry itself."""
    return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)


def by_descriptor(fd: int) -> str:
    """A path that means exactly the open file `fd`, for calls that take no descriptor."""
    return f"/proc/self/fd/{fd}"


def remove_tree(dir_fd: int, name: bytes) -> None:
    """Remove an entry and all below it, never through a link. Any depth, with few descriptors. Missing is
    fine, also what somebody else removes meanwhile."""
    if _remove_one(dir_fd, name):
        return
    _remove_directory(dir_fd, name)


def _remove_one(dir_fd: int, name: bytes) -> bool:
    """Whether the entry is gone; False when it is a directory with something in it."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    except (IsADirectoryError, PermissionError):
        try:
            os.rmdir(name, dir_fd=dir_fd)
        except NotADirectoryError:
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), name) from None
        except FileNotFoundError:
            return True
        except OSError:
            return False
    return True


def _remove_directory(dir_fd: int, top: bytes) -> None:
    """Empty `top` and remove it. Directories below `_REMOVE_DEPTH` are renamed into `top` and done in another
    round."""
    moved = 0
    while True:
        try:
            top_fd = _open_writable(dir_fd, top)
        except FileNotFoundError:
            return
        try:
            moved = _empty(top_fd, top_fd, 0, moved)
        finally:
            os.close(top_fd)
        try:
            os.rmdir(top, dir_fd=dir_fd)
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.ENOTEMPTY:
                raise
            continue
        return


def _empty(fd: int, top_fd: int, depth: int, moved: int) -> int:
    with os.scandir(fd) as entries:
        names = [os.fsencode(entry.name) for entry in entries]
    for name in names:
        if _remove_one(fd, name):
            continue
        if depth >= _REMOVE_DEPTH:
            moved += 1
            with contextlib.suppress(FileNotFoundError):
                os.rename(name, b".removing-%d-%d" % (os.getpid(), moved), src_dir_fd=fd, dst_dir_fd=top_fd)
            continue
        try:
            child = _open_writable(fd, name)
        except FileNotFoundError:
            continue
        try:
            moved = _empty(child, top_fd, depth + 1, moved)
        finally:
            os.close(child)
        with contextlib.suppress(OSError):
            os.rmdir(name, dir_fd=fd)
    return moved


def _open_writable(dir_fd: int, name: bytes) -> int:
    """A directory opened for reading, made the owner's to change when it was not."""
    for _ in range(2):
        try:
            fd = os.open(name, O_READ_DIRECTORY, dir_fd=dir_fd)
        except PermissionError:
            path_fd = os.open(name, O_PATH_DIRECTORY, dir_fd=dir_fd)
            try:
                os.chmod(by_descriptor(path_fd), 0o700)  # noqa: PTH101 - a descriptor, not a path
            finally:
                os.close(path_fd)
            continue
        if os.geteuid() != 0 and os.fstat(fd).st_mode & 0o700 != 0o700:
            os.fchmod(fd, 0o700)
        return fd
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)


def names_in(fd: int) -> Iterator[bytes]:
    """The names in a directory, sorted by their bytes."""
    with os.scandir(fd) as entries:
        yield from sorted(os.fsencode(entry.name) for entry in entries)
