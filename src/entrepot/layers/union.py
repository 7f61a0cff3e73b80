"""Several layers seen as the one tree they make, without a mount.

The layers are directories in the OVERLAY form of `apply`, topmost first: a character device 0:0 hides a name,
an
opaque directory hides what lies below it, directories merge, everything else is taken from the topmost layer
that
has it. A single FLAT directory is a union of one. The kernel's overlay mount gives the same answers; this one
needs
no right to mount, and a container cannot change where it looks: everything goes through descriptors.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path as FilePath

from msgspec import Struct

from entrepot.layers.directory import MAX_LINKS, O_READ_DIRECTORY, by_descriptor, open_entry
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.errors import LayerLimitExceeded, UnsafePath
from entrepot.layers.limits import DEFAULT_LIMITS
from entrepot.layers.paths import Path, join, link_parts
from entrepot.layers.walk import entry_at, file_data
from entrepot.layers.whiteout import OVERLAY_OPAQUE_ROOT, OVERLAY_OPAQUE_USER

_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class Child(Struct):
    """One name of a merged directory."""

    name: bytes
    dir_fd: int
    """The layer's directory that the name was found in; open as long as the listing's descriptors."""
    status: os.stat_result
    holders: tuple[int, ...]
    """For a directory: descriptors, topmost first, of the parents in which it has to be opened to list it."""

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.status.st_mode)

    def entry(self, full_name: bytes, *, xattrs: bool = True) -> Entry | None:
        """Its entry; None for a socket."""
        return entry_at(self.dir_fd, self.name, self.status, full_name, xattrs=xattrs)

    def open_directories(self) -> list[int]:
        """Descriptors of the directory in each layer that has it, topmost first; the caller closes them."""
        opened: list[int] = []
        for holder in self.holders:
            try:
                opened.append(os.open(self.name, O_READ_DIRECTORY, dir_fd=holder))
            except OSError as error:
                if error.errno in _GONE:
                    continue  # a running container has just removed it
                _close_all(opened)
                raise
        return opened


class Visit(Struct):
    """One step of a walk; valid until the next."""

    path: Path
    entry: Entry
    child: Child

    def data(self) -> Iterator[bytes]:
        """The bytes of a file."""
        return file_data(self.child.dir_fd, self.child.name, self.entry.size)


def is_whiteout(status: os.stat_result) -> bool:
    """Whether an overlay mount would hide the name."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(fd: int) -> bool:
    """Whether an overlay mount would not look below this open directory."""
    for key in (OVERLAY_OPAQUE_ROOT, OVERLAY_OPAQUE_USER):
        with contextlib.suppress(OSError):
            if os.getxattr(fd, key) == b"y":
                return True
    return False


def _is_opaque_at(dir_fd: int, name: bytes) -> bool:
    try:
        fd = os.open(name, O_READ_DIRECTORY, dir_fd=dir_fd)
    except OSError:
        return False
    try:
        return is_opaque(fd)
    finally:
        os.close(fd)


def merged_children(fds: Sequence[int]) -> dict[bytes, Child]:
    """What a merged directory holds, by name, sorted; `fds` are its layers' directories, topmost first."""
    found: dict[bytes, Child] = {}
    closed: set[bytes] = set()
    last = len(fds) - 1
    for index, fd in enumerate(fds):
        listing = os.open(
            b".", O_READ_DIRECTORY, dir_fd=fd
        )  # a descriptor of its own: listing moves its offset
        try:
            with os.scandir(listing) as items:
                names = [os.fsencode(item.name) for item in items]
        finally:
            os.close(listing)
        for name in names:
            if name in closed:
                continue
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                if error.errno in _GONE:
                    continue
                raise
            known = found.get(name)
            if not stat.S_ISDIR(status.st_mode):
                closed.add(name)
                if known is None and not is_whiteout(status):
                    found[name] = Child(name, fd, status, ())
                continue
            if known is None:
                found[name] = Child(name, fd, status, (fd,))
            else:
                known.holders = (*known.holders, fd)
            if index != last and _is_opaque_at(fd, name):
                closed.add(name)
    return dict(sorted(found.items()))


class Union:
    """The merged view of layers, topmost first. A context manager; holds a descriptor for each layer while
    open."""

    def __init__(self, layers: Sequence[FilePath | str]) -> None:
        self._fds: list[int] = []
        try:
            for layer in layers:
                self._fds.append(os.open(layer, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Union:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all descriptors. May be called twice."""
        for fd in self._fds:
            os.close(fd)
        self._fds.clear()

    @property
    def roots(self) -> list[int]:
        """Descriptors of the layers' roots, topmost first; they stay this object's."""
        return self._fds

    # Looking up one path.

    @contextlib.contextmanager
    def opened(self, path: Path) -> Iterator[list[int]]:
        """Descriptors of a merged directory, topmost first. Raises FileNotFoundError, NotADirectoryError."""
        fds = list(self._fds)
        owned = False
        try:
            for depth, name in enumerate(path):
                child = _child_of(fds, name)
                if child is None or not child.is_directory:
                    code = errno.ENOENT if child is None else errno.ENOTDIR
                    raise OSError(code, os.strerror(code), b"/" + join(path[: depth + 1]))
                deeper = child.open_directories()
                if owned:
                    _close_all(fds)
                fds, owned = deeper, True
            yield fds
        finally:
            if owned:
                _close_all(fds)

    def find(self, path: Path) -> Entry | None:
        """The entry at a path without links, named by it; None when there is none."""
        if not path:
            return entry_at(self._fds[0], b".", os.fstat(self._fds[0]), b"")
        try:
            with self.opened(path[:-1]) as fds:
                child = _child_of(fds, path[-1])
                return child.entry(join(path)) if child is not None else None
        except (FileNotFoundError, NotADirectoryError):
            return None

    def resolve(self, path: Path, *, follow_last: bool = True) -> Path:
        """The path with symlinks resolved inside of the tree; what is missing stays as named. Raises
        UnsafePath after 40 links."""
        rest = list(reversed(path))
        current: list[bytes] = []
        links = 0
        while rest:
            name = rest.pop()
            if name == b"..":
                if current:
                    current.pop()
                continue
            entry = self.find((*current, name))
            if entry is None or entry.kind is not Kind.SYMLINK or (not rest and not follow_last):
                current.append(name)
                continue
            links += 1
            if links > MAX_LINKS:
                raise UnsafePath(f"too many symbolic links on the way to {join(path)!r}")
            absolute, parts = link_parts(entry.link)
            if absolute:
                current.clear()
            rest.extend(reversed(parts))
        return tuple(current)

    def read_file(self, path: Path, max_bytes: int = 1 << 20) -> bytes | None:
        """A small file's bytes, links followed inside of the tree; None when there is no such regular
        file."""
        path = self.resolve(path)
        if not path:
            return None
        try:
            with self.opened(path[:-1]) as fds:
                child = _child_of(fds, path[-1])
                if child is None or not stat.S_ISREG(child.status.st_mode):
                    return None
                return b"".join(file_data(child.dir_fd, child.name, max_bytes))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def copy_to(self, path: Path, dir_fd: int, name: bytes) -> None:
        """Copy the non-directory at a path without links to `name` in `dir_fd`, attributes included.

        Raises FileNotFoundError.
        """
        with self.opened(path[:-1]) as fds:
            child = _child_of(fds, path[-1])
            if child is None or child.is_directory:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), b"/" + join(path))
            copy_entry(child.dir_fd, child.name, child.status, dir_fd, name)

    # Walking all of it.

    def walk(self, start: Path = ()) -> Iterator[Visit]:
        """Everything below `start`, parents first, names in byte order.

        Raises LayerLimitExceeded for a tree deeper than `UnpackLimits.max_depth`.
        """
        with self.opened(start) as fds:
            yield from _walk(fds, start)

    def visit(self, path: Path) -> Iterator[Visit]:
        """The single entry at a path without links; nothing when it is missing."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError), self.opened(path[:-1]) as fds:
            child = _child_of(fds, path[-1])
            entry = child.entry(join(path)) if child is not None else None
            if child is not None and entry is not None:
                yield Visit(path, entry, child)


def _close_all(fds: Iterable[int]) -> None:
    for fd in fds:
        os.close(fd)


def _child_of(fds: Sequence[int], name: bytes) -> Child | None:
    """One name of a merged directory."""
    found: Child | None = None
    for index, fd in enumerate(fds):
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError as error:
            if error.errno in _GONE:
                continue
            raise
        if not stat.S_ISDIR(status.st_mode):
            if found is None and not is_whiteout(status):
                return Child(name, fd, status, ())
            return found
        if found is None:
            found = Child(name, fd, status, (fd,))
        else:
            found.holders = (*found.holders, fd)
        if index != len(fds) - 1 and _is_opaque_at(fd, name):
            break
    return found


def _walk(fds: Sequence[int], path: Path) -> Iterator[Visit]:
    if len(path) > DEFAULT_LIMITS.max_depth:
        raise LayerLimitExceeded(
            f"the tree is more than {DEFAULT_LIMITS.max_depth} directories deep at {join(path)[:80]!r}…"
        )
    for child in merged_children(fds).values():
        here = (*path, child.name)
        entry = child.entry(join(here))
        if entry is None:
            continue
        yield Visit(here, entry, child)
        if child.is_directory:
            deeper = child.open_directories()
            try:
                yield from _walk(deeper, here)
            finally:
                _close_all(deeper)


# Copying files between trees.

_XATTRS_NOT_COPIED = ("trusted.overlay.", "user.overlay.", "user.fuseoverlayfs.")


def copy_entry(source_fd: int, source: bytes, status: os.stat_result, target_fd: int, target: bytes) -> None:
    """Copy one non-directory with owner, mode, xattrs and time. Raises FileExistsError. A socket is left
    out."""
    mode = status.st_mode
    if stat.S_ISREG(mode):
        _copy_file(source_fd, source, status, target_fd, target)
        return
    if stat.S_ISLNK(mode):
        os.symlink(os.readlink(source, dir_fd=source_fd), target, dir_fd=target_fd)
    elif stat.S_ISSOCK(mode):
        return
    else:
        os.mknod(target, mode, status.st_rdev, dir_fd=target_fd)
        node = open_entry(target_fd, target)
        try:
            os.chmod(by_descriptor(node), stat.S_IMODE(mode))  # noqa: PTH101 - a descriptor, not a path
        finally:
            os.close(node)
    with contextlib.suppress(PermissionError):
        os.chown(target, status.st_uid, status.st_gid, dir_fd=target_fd, follow_symlinks=False)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), dir_fd=target_fd, follow_symlinks=False)


def _copy_file(source_fd: int, source: bytes, status: os.stat_result, target_fd: int, target: bytes) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source_fd)
    try:
        writing = os.open(
            target,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
            dir_fd=target_fd,
        )
        try:
            while os.copy_file_range(reading, writing, 1 << 30):
                pass
            copy_attributes(reading, status, writing)
        finally:
            os.close(writing)
    finally:
        os.close(reading)


def copy_attributes(source: int, status: os.stat_result, target: int) -> None:
    """Owner, mode, xattrs and times from one open file or directory to another."""
    with contextlib.suppress(PermissionError):
        os.fchown(target, status.st_uid, status.st_gid)
    for key in os.listxattr(source):
        if key.startswith(_XATTRS_NOT_COPIED):
            continue
        with contextlib.suppress(OSError):
            os.setxattr(target, key, os.getxattr(source, key))
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))


def copy_directory_attributes(tree: Union, path: Path, target: int) -> None:
    """Owner, mode, xattrs and time of the merged directory at `path` (without links) to an open directory."""
    with tree.opened(path) as fds:
        reading = os.open(b".", O_READ_DIRECTORY, dir_fd=fds[0])
        try:
            copy_attributes(reading, os.fstat(reading), target)
        finally:
            os.close(reading)


def copy_tree(fds: Sequence[int], target_fd: int) -> None:
    """Copy a merged directory into an empty one, hard links kept."""
    _copy_children(fds, target_fd, target_fd, {}, ())
    reading = os.open(b".", O_READ_DIRECTORY, dir_fd=fds[0])
    try:
        copy_attributes(reading, os.fstat(reading), target_fd)
    finally:
        os.close(reading)


def _copy_children(
    fds: Sequence[int], target_fd: int, root_fd: int, links: dict[tuple[int, int], bytes], path: Path
) -> None:
    for child in merged_children(fds).values():
        here = (*path, child.name)
        if child.is_directory:
            _copy_directory(child, target_fd, root_fd, links, here)
            continue
        status = child.status
        key = (status.st_dev, status.st_ino)
        known = links.get(key) if status.st_nlink > 1 else None
        if known is not None:
            os.link(known, child.name, src_dir_fd=root_fd, dst_dir_fd=target_fd, follow_symlinks=False)
            continue
        copy_entry(child.dir_fd, child.name, status, target_fd, child.name)
        if status.st_nlink > 1:
            links[key] = join(here)


def _copy_directory(
    child: Child, target_fd: int, root_fd: int, links: dict[tuple[int, int], bytes], here: Path
) -> None:
    os.mkdir(child.name, 0o700, dir_fd=target_fd)
    deeper = child.open_directories()
    inside = os.open(child.name, O_READ_DIRECTORY, dir_fd=target_fd)
    try:
        if deeper:
            _copy_children(deeper, inside, root_fd, links, here)
            copy_attributes(deeper[0], child.status, inside)
    finally:
        os.close(inside)
        _close_all(deeper)
