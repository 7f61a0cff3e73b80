"""Applies a layer's entries to a directory.

Three forms of the result:

- FLAT: the directory holds the merged tree. Whiteouts delete what earlier layers left, and only that.
- OVERLAY: the directory holds this layer alone, as a lower directory of an overlay mount. Whiteouts become
  character
  devices 0:0, opaque directories get an xattr. Layers can then be unpacked in any order and shared.
- COPY: like FLAT, but the names of whiteouts are names like any other. For files that are no layer.

Each name is walked component by component (`directory`); files are made with O_EXCL, so nothing that exists
is ever
opened for writing, and everything below the last component is replaced, not followed. Directories get their
owner, mode
and time at the end, because making files in them would change the time and a read-only mode would forbid it.

image-spec: Applying Changesets. One long class: the three forms differ in a line here and there of one walk.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable, Iterator
from enum import Enum
from pathlib import Path as FilePath
from typing import Protocol

from msgspec import Struct

from entrepot.layers.directory import O_READ_DIRECTORY, Directory, by_descriptor, open_entry, remove_tree
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.errors import CannotOverwrite, DiskFull, InvalidLayer, LayerLimitExceeded, UnsafePath
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits
from entrepot.layers.ownership import (
    OVERRIDE_XATTR,
    Privileges,
    current_privileges,
    override_for,
    real_mode,
)
from entrepot.layers.paths import Path, join, parse_path
from entrepot.layers.whiteout import PREFIX, Ignored, Opaque, Whiteout, parse_whiteout

_MAX_ID = (1 << 32) - 2
_MAX_MAJOR, _MAX_MINOR = (1 << 12) - 1, (1 << 20) - 1
_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_TIME_NS = ((1 << 34) - 1) * 1_000_000_000
"""ext4's last representable second, in the year 2446; kernels clamp differently, so nothing later is asked of
them."""
_KEPT_XATTRS = (b"user.", b"security.capability", b"system.posix_acl_")
_REFUSED_XATTRS = (b"user.overlay.", b"user.containers.", b"user.fuseoverlayfs.")
"""These steer overlay mounts and ownership; a layer may not say them itself."""


class Form(Enum):
    """What the directory holds afterwards."""

    FLAT = "flat"
    OVERLAY = "overlay"
    COPY = "copy"


class EntrySource(Protocol):
    """Entries and the current file's data: a `TarReader`, or files being copied."""

    def __iter__(self) -> Iterator[Entry]: ...

    def data(self) -> Iterator[tuple[int, memoryview]]: ...


class LowerLayers(Protocol):
    """The layers below the one that is applied, in the OVERLAY form."""

    def find(self, path: Path) -> Entry | None:
        """The entry at a path without links, as the merged lower layers have it."""

    def copy_to(self, path: Path, dir_fd: int, name: bytes) -> None:
        """Copy the non-directory at `path` to `name` in `dir_fd`, attributes included."""


class Applied(Struct):
    """What came of a layer."""

    entries: int = 0
    data_bytes: int = 0
    """Of all files together, holes included."""
    describes_root: bool = False
    """The layer has an entry for the root directory itself."""
    implied: list[Path] = []
    """Directories that no entry describes but files lie in; lower layers may describe them."""
    borrowed: list[tuple[Path, Path]] = []
    """Hard links (name, target) whose target this layer does not have."""


class LayerApplier:
    """Applies one layer to one directory, which nobody else changes meanwhile."""

    def __init__(
        self,
        root: FilePath | str,
        *,
        form: Form = Form.FLAT,
        privileges: Privileges | None = None,
        lower: LowerLayers | None = None,
        limits: UnpackLimits = DEFAULT_LIMITS,
    ) -> None:
        self._root = root
        self._form = form
        self._privileges = privileges or current_privileges()
        self._lower = lower
        self._limits = limits
        self._umask = _umask()
        self._euid, self._egid = os.geteuid(), os.getegid()
        # What is noted here counts unless its path, or one above it, was replaced by a later entry.
        self._directories: dict[Path, tuple[int, Entry]] = {}
        self._implied: dict[Path, int] = {}
        self._replaced: dict[Path, int] = {}
        # FLAT: what this layer has made, and the directories above: whiteouts leave those alone.
        self._made: set[Path] = set()
        self._above_made: set[Path] = set()
        self._makers: dict[Kind, Callable[[Entry, int, bytes, Path], None]] = {
            Kind.SYMLINK: self._make_symlink,
            Kind.HARD_LINK: self._make_hard_link,
            Kind.FIFO: self._make_fifo,
            Kind.CHAR_DEVICE: self._make_device,
            Kind.BLOCK_DEVICE: self._make_device,
        }
        self._result = Applied()

    def apply(self, reader: EntrySource) -> Applied:
        """Apply every entry and read the stream to its end.

        Raises InvalidLayer, UnsafePath, LayerLimitExceeded or DiskFull; the directory then holds a part of
        the layer
        and is good for nothing but removal. Nothing outside of it was touched.
        """
        self._directory = Directory(self._root)
        try:
            for entry in reader:
                self._result.entries += 1
                try:
                    self._apply_entry(entry, reader)
                except OSError as error:
                    raise _explained(error, entry) from error
            try:
                self._finish_directories()
            except OSError as error:
                raise _explained(error, None) from error
        finally:
            self._directory.close()
        self._result.describes_root = () in self._directories
        self._result.implied = [path for path, number in self._implied.items() if self._holds(path, number)]
        return self._result

    def _apply_entry(self, entry: Entry, reader: EntrySource) -> None:
        path = parse_path(entry.name, self._limits)
        if entry.uid > _MAX_ID or entry.gid > _MAX_ID:
            raise InvalidLayer(
                f"entry {entry.name!r} has the owner {entry.uid}:{entry.gid}, more than 32 bits"
            )
        if entry.major > _MAX_MAJOR or entry.minor > _MAX_MINOR:
            raise InvalidLayer(
                f"entry {entry.name!r} is the device {entry.major}:{entry.minor}, more than 12 and 20 bits"
            )
        if not path:
            self._note_directory(entry, path)
            return
        base = path[-1]
        fd, parent = self._directory.open_directory(path[:-1], self._missing)
        if base.startswith(PREFIX) and self._form is not Form.COPY:
            self._apply_whiteout(base, fd, parent)
            return
        if len(parent) != len(path) - 1 or parent != path[:-1]:
            path = (*parent, base)
        if entry.kind is Kind.FILE:
            self._make_file(entry, fd, base, path, reader)
        elif entry.kind is Kind.DIRECTORY:
            self._make_directory(entry, fd, base, path)
        else:
            self._makers[entry.kind](entry, fd, base, path)
        if self._form is Form.FLAT:
            self._made.add(path)
            above = path[:-1]
            while above and above not in self._above_made:
                self._above_made.add(above)
                above = above[:-1]

    def _holds(self, path: Path, number: int) -> bool:
        """Whether what entry `number` said of `path` is still so."""
        if not self._replaced:
            return True
        return all(self._replaced.get(path[:length], -1) <= number for length in range(1, len(path) + 1))

    # Directories.

    def _missing(self, parent_fd: int, path: Path) -> bytes | None:
        """A parent directory that is not there; links of the lower layers count."""
        name = path[-1]
        try:
            status = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            hidden = False
        else:
            hidden = self._form is Form.OVERLAY and _is_overlay_whiteout(status)
            if not hidden:
                raise InvalidLayer(f"{join(path)!r} is no directory, but the layer has entries below it")
            os.unlink(name, dir_fd=parent_fd)
        if self._lower is not None and not hidden:
            below = self._lower.find(path)
            if below is not None and below.kind is Kind.SYMLINK:
                return below.link
        os.mkdir(name, 0o755, dir_fd=parent_fd)
        self._set_directory_mode(parent_fd, name, 0o755)
        if hidden:
            self._make_opaque(parent_fd, name)
        self._implied[path] = self._result.entries
        return None

    def _set_directory_mode(self, parent_fd: int, name: bytes, mode: int) -> None:
        if mode & ~self._umask != mode:
            fd = os.open(name, O_READ_DIRECTORY, dir_fd=parent_fd)
            try:
                os.fchmod(fd, mode)
            finally:
                os.close(fd)

    def _make_directory(self, entry: Entry, fd: int, name: bytes, path: Path) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=fd)
        except FileExistsError:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode):
                if self._form is Form.COPY:
                    raise CannotOverwrite(
                        f'cannot overwrite non-directory "/{_shown(path)}" with directory'
                    ) from None
                with self._made_room(fd, name, path) as parent_fd:
                    os.mkdir(name, 0o700, dir_fd=parent_fd)
                    if self._form is Form.OVERLAY:
                        # Whatever stood here hid the directory of the lower layers; so does this one.
                        self._make_opaque(parent_fd, name)
            elif status.st_mode & 0o700 != 0o700:
                self._set_writable(fd, name)
        self._note_directory(entry, path)

    def _set_writable(self, fd: int, name: bytes) -> None:
        path_fd = open_entry(fd, name)
        try:
            os.chmod(by_descriptor(path_fd), 0o700)  # noqa: PTH101 - a descriptor, not a path
        finally:
            os.close(path_fd)

    def _note_directory(self, entry: Entry, path: Path) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise InvalidLayer(f"entry {entry.name!r} would replace the root directory")
        self._implied.pop(path, None)
        self._directories[path] = (self._result.entries, entry)

    def _finish_directories(self) -> None:
        """Owner, mode, xattrs and time of each directory, children first."""
        directory = self._directory
        for path in sorted(self._directories, key=len, reverse=True):
            number, entry = self._directories[path]
            if not self._holds(path, number):
                continue
            try:
                parent_fd = directory.open_directory(path[:-1])[0] if path else directory.fd
                fd = os.open(path[-1] if path else b".", O_READ_DIRECTORY, dir_fd=parent_fd)
            except OSError as error:
                # Replaced by a later entry of the same layer.
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                    continue
                raise
            try:
                self._set_attributes(fd, entry, 0o700)
            finally:
                os.close(fd)

    # Everything else.

    def _make_file(self, entry: Entry, fd: int, name: bytes, path: Path, reader: EntrySource) -> None:
        mode = real_mode(entry, self._privileges)
        try:
            file = os.open(name, _FILE_FLAGS, mode & 0o777, dir_fd=fd)
        except FileExistsError:
            with self._made_room(fd, name, path) as parent_fd:
                file = os.open(name, _FILE_FLAGS, mode & 0o777, dir_fd=parent_fd)
        try:
            if entry.segments is None:
                if entry.size:
                    for _, piece in reader.data():
                        written = os.write(file, piece)
                        while written < len(piece):
                            written += os.write(file, piece[written:])
            else:
                os.ftruncate(file, entry.size)
                for offset, piece in reader.data():
                    while piece:
                        written = os.pwrite(file, piece, offset)
                        offset += written
                        piece = piece[written:]
            self._result.data_bytes += entry.size
            self._set_attributes(file, entry, mode & 0o777 & ~self._umask)
        finally:
            os.close(file)

    def _set_attributes(self, fd: int, entry: Entry, mode_now: int) -> None:
        """Of a file or directory that is open. Owner first: a change of owner clears setuid bits and
        capabilities."""
        privileges = self._privileges
        if privileges.chown and (
            entry.uid != self._euid or entry.gid != self._egid or entry.kind is Kind.DIRECTORY
        ):
            os.fchown(fd, entry.uid, entry.gid)
        mode = real_mode(entry, privileges)
        if mode != mode_now:
            os.fchmod(fd, mode)
        for key, value in entry.xattrs.items():
            _set_xattr(fd, key, value)
        override = override_for(entry, privileges)
        if override is not None:
            os.setxattr(fd, OVERRIDE_XATTR, override.to_xattr())
        mtime = _time(entry)
        os.utime(fd, ns=(mtime, mtime))

    @contextlib.contextmanager
    def _made_room(self, fd: int, name: bytes, path: Path) -> Iterator[int]:
        """The parent's descriptor, with nothing at `name` any more."""
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode) and self._form is Form.COPY:
            raise CannotOverwrite(f'cannot overwrite directory "/{_shown(path)}" with non-directory')
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)):
            os.unlink(name, dir_fd=fd)
            yield fd
            return
        keep = os.dup(fd)
        try:
            remove_tree(keep, name)
            self._replaced[path] = self._result.entries - 1
            self._directory.forget()  # descriptors below `path` mean something that is gone; closes `fd` too
            yield keep
        finally:
            os.close(keep)

    def _make_symlink(self, entry: Entry, fd: int, name: bytes, path: Path) -> None:
        if b"\0" in entry.link:
            raise InvalidLayer(f"symlink {entry.name!r} has a NUL byte in its target")
        try:
            os.symlink(entry.link, name, dir_fd=fd)
        except FileExistsError:
            with self._made_room(fd, name, path) as parent_fd:
                os.symlink(entry.link, name, dir_fd=parent_fd)
                self._set_link_attributes(parent_fd, name, entry)
            return
        self._set_link_attributes(fd, name, entry)

    def _set_link_attributes(self, fd: int, name: bytes, entry: Entry) -> None:
        if self._privileges.chown:
            os.chown(name, entry.uid, entry.gid, dir_fd=fd, follow_symlinks=False)
        mtime = _time(entry)
        os.utime(name, ns=(mtime, mtime), dir_fd=fd, follow_symlinks=False)

    def _make_hard_link(self, entry: Entry, fd: int, name: bytes, path: Path) -> None:
        target = parse_path(entry.link, self._limits)
        if not target:
            raise UnsafePath(f"hard link {entry.name!r} to the root directory")
        keep = os.dup(fd)  # looking for the target may close the parent
        try:
            try:
                target_fd, parent = self._directory.open_directory(target[:-1])
                target = (*parent, target[-1])
                if target == path:
                    return
                status = os.stat(target[-1], dir_fd=target_fd, follow_symlinks=False)
                if self._form is Form.OVERLAY and _is_overlay_whiteout(status):
                    raise FileNotFoundError
            except (FileNotFoundError, NotADirectoryError):
                self._borrow(entry, keep, name, path, target)
                return
            if stat.S_ISDIR(status.st_mode):
                raise InvalidLayer(f"hard link {entry.name!r} to the directory {entry.link!r}")
            link_fd = os.dup(target_fd)
            try:
                self._link(link_fd, target[-1], keep, name, path)
            finally:
                os.close(link_fd)
        finally:
            os.close(keep)

    def _link(self, target_fd: int, target: bytes, fd: int, name: bytes, path: Path) -> None:
        try:
            os.link(target, name, src_dir_fd=target_fd, dst_dir_fd=fd, follow_symlinks=False)
        except FileExistsError:
            with self._made_room(fd, name, path) as parent_fd:
                os.link(target, name, src_dir_fd=target_fd, dst_dir_fd=parent_fd, follow_symlinks=False)

    def _borrow(self, entry: Entry, fd: int, name: bytes, path: Path, target: Path) -> None:
        """A hard link whose target is in a lower layer: this layer gets a copy, as overlay mounts would make
        one."""
        if self._form is not Form.OVERLAY:
            raise InvalidLayer(f"hard link {entry.name!r} to {entry.link!r}, which is not there")
        if self._lower is None:
            self._result.borrowed.append((path, target))
            return
        found = self._lower.find(target)
        if found is None or found.kind is Kind.DIRECTORY:
            raise InvalidLayer(f"hard link {entry.name!r} to {entry.link!r}, which is not there")
        with contextlib.suppress(FileExistsError):
            self._lower.copy_to(target, fd, name)
            return
        with self._made_room(fd, name, path) as parent_fd:
            self._lower.copy_to(target, parent_fd, name)

    def _make_fifo(self, entry: Entry, fd: int, name: bytes, path: Path) -> None:
        self._make_node(entry, fd, name, path, stat.S_IFIFO, 0)

    def _make_device(self, entry: Entry, fd: int, name: bytes, path: Path) -> None:
        if not self._privileges.mknod:
            self._make_placeholder(entry, fd, name, path)
            return
        kind = stat.S_IFCHR if entry.kind is Kind.CHAR_DEVICE else stat.S_IFBLK
        self._make_node(entry, fd, name, path, kind, os.makedev(entry.major, entry.minor))

    def _make_node(self, entry: Entry, fd: int, name: bytes, path: Path, kind: int, device: int) -> None:
        try:
            os.mknod(name, kind | 0o600, device, dir_fd=fd)
        except FileExistsError:
            with self._made_room(fd, name, path) as parent_fd:
                os.mknod(name, kind | 0o600, device, dir_fd=parent_fd)
                self._set_node_attributes(parent_fd, name, entry)
            return
        self._set_node_attributes(fd, name, entry)

    def _set_node_attributes(self, fd: int, name: bytes, entry: Entry) -> None:
        self._set_link_attributes(fd, name, entry)
        node = open_entry(fd, name)
        try:
            os.chmod(by_descriptor(node), real_mode(entry, self._privileges))  # noqa: PTH101 - a descriptor, not a path
        finally:
            os.close(node)
        mtime = _time(entry)
        os.utime(name, ns=(mtime, mtime), dir_fd=fd, follow_symlinks=False)

    def _make_placeholder(self, entry: Entry, fd: int, name: bytes, path: Path) -> None:
        try:
            file = os.open(name, _FILE_FLAGS, 0o600, dir_fd=fd)
        except FileExistsError:
            with self._made_room(fd, name, path) as parent_fd:
                file = os.open(name, _FILE_FLAGS, 0o600, dir_fd=parent_fd)
        try:
            self._set_attributes(file, entry, -1)
        finally:
            os.close(file)

    # Whiteouts.

    def _apply_whiteout(self, base: bytes, fd: int, parent: Path) -> None:
        match parse_whiteout(base):
            case Whiteout(name):
                if self._form is Form.OVERLAY:
                    self._hide(fd, name)
                else:
                    self._remove_lower(fd, name, (*parent, name))
            case Opaque():
                if self._form is Form.OVERLAY:
                    self._make_opaque(fd, b".")
                else:
                    self._empty_lower(fd, parent)
            case Ignored() | None:
                pass

    def _hide(self, fd: int, name: bytes) -> None:
        try:
            os.mknod(name, stat.S_IFCHR, 0, dir_fd=fd)
        except FileExistsError:
            # This layer has something there, which stays; it must not merge with what the lower layers have.
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                self._make_opaque(fd, name)

    def _make_opaque(self, fd: int, name: bytes) -> None:
        directory = os.open(name, O_READ_DIRECTORY, dir_fd=fd)
        try:
            os.setxattr(directory, self._privileges.opaque_xattr, b"y")
        finally:
            os.close(directory)

    def _remove_lower(self, fd: int, name: bytes, path: Path) -> None:
        """Remove what is at `path`, except what this layer has put there."""
        if path not in self._made and path not in self._above_made:
            # An open directory that is removed would keep answering.
            keep = os.dup(fd)
            try:
                remove_tree(keep, name)
            finally:
                os.close(keep)
            self._directory.forget()
            return
        try:
            child = os.open(name, O_READ_DIRECTORY, dir_fd=fd)
        except OSError:
            return
        try:
            self._empty_lower(child, path)
        finally:
            os.close(child)

    def _empty_lower(self, fd: int, path: Path) -> None:
        listing = os.open(b".", O_READ_DIRECTORY, dir_fd=fd)
        try:
            with os.scandir(listing) as found:
                names = [os.fsencode(item.name) for item in found]
            for name in names:
                self._remove_lower(listing, name, (*path, name))
        finally:
            os.close(listing)


def _shown(path: Path) -> str:
    return os.fsdecode(join(path))


def _is_overlay_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _time(entry: Entry) -> int:
    return max(-_MAX_TIME_NS // 8, min(entry.mtime_ns, _MAX_TIME_NS))


def _set_xattr(fd: int, key: bytes, value: bytes) -> None:
    if not key.startswith(_KEPT_XATTRS) or key.startswith(_REFUSED_XATTRS):
        return
    try:
        os.setxattr(fd, key, value)
    except OSError as error:
        # As docker: a file system without xattrs, or a user without rights, loses them.
        if error.errno not in (errno.EOPNOTSUPP, errno.EPERM, errno.EINVAL):
            raise


def _umask() -> int:
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = FilePath("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Umask:")).split()[1], 8)
    return 0o777  # unknown: every mode is set explicitly


def _explained(error: OSError, entry: Entry | None) -> Exception:
    where = f"entry {entry.name!r}" if entry is not None else "the layer's directories"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFull(
            f"no space left on the disk while unpacking {where}",
            hint="free some space (entrepot image prune, entrepot rm) and try again; nothing was kept",
        )
    if error.errno == errno.ENAMETOOLONG:
        return LayerLimitExceeded(f"{where} has a name that is too long for this file system")
    if error.errno == errno.EINVAL and entry is not None:
        return InvalidLayer(
            f"{where} belongs to {entry.uid}:{entry.gid}, or is of a form, that cannot be made here: "
            f"{error.strerror}",
            hint="inside a user namespace only the ids mapped in /etc/subuid and /etc/subgid exist",
        )
    return InvalidLayer(f"{where} cannot be unpacked: {error.strerror}")
