"""A container's file system: the image's layers, a thin one with mount points, and its own on top.

Where the kernel mounts overlays, that is one mount; elsewhere the layers are copied into a directory. Reading
needs
neither: `view` merges the layers in this process, and `changes` looks only at what the container did.

The mount points that every container needs (`/proc`, `/etc/hosts`, …) are in a layer below the container's
own, where
the image has none, so that they are no change of the container's.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from entrepot.containers.errors import InvalidOption, MountFailed
from entrepot.containers.mounts import MS_RDONLY, is_mounted, mount_overlay, unmount
from entrepot.containers.records import Container, Containers
from entrepot.files import locked, try_lock
from entrepot.images.snapshots import Snapshots
from entrepot.layers.diff import TreeChange, tree_changes, upper_changes
from entrepot.layers.directory import Directory
from entrepot.layers.entry import Kind
from entrepot.layers.ownership import Privileges
from entrepot.layers.paths import Path as TreePath
from entrepot.layers.paths import parse_path
from entrepot.layers.union import Union, copy_attributes, copy_directory_attributes, copy_tree
from entrepot.oci.digest import Digest

_POINTS: tuple[tuple[str, Kind], ...] = (
    (".dockerenv", Kind.FILE),
    ("dev", Kind.DIRECTORY),
    ("dev/pts", Kind.DIRECTORY),
    ("dev/shm", Kind.DIRECTORY),
    ("dev/console", Kind.FILE),
    ("etc", Kind.DIRECTORY),
    ("etc/hostname", Kind.FILE),
    ("etc/hosts", Kind.FILE),
    ("etc/mtab", Kind.SYMLINK),
    ("etc/resolv.conf", Kind.FILE),
    ("proc", Kind.DIRECTORY),
    ("sys", Kind.DIRECTORY),
)
"""What docker puts below each container; `.dockerenv` tells programs where they are."""

_NO_OVERLAY = (errno.EPERM, errno.EACCES, errno.ENODEV, errno.EINVAL, errno.EOPNOTSUPP, errno.E2BIG)


class RootFs:
    """The files of one container, in its directory."""

    def __init__(
        self,
        directory: Path,
        kind: str,
        layers: Sequence[Path],
        privileges: Privileges,
        *,
        short_lived: bool = False,
    ) -> None:
        """With `short_lived`, what the container writes need not outlive the machine: it goes with the
        container."""
        self.directory = directory
        self.kind = kind
        self.layers = list(layers)
        self._privileges = privileges
        self._short_lived = short_lived
        self._mounted_by_us: int | None = None

    @property
    def upper(self) -> Path:
        """The container's own layer, or the whole copy."""
        return self.directory / ("upper" if self.kind == "overlay" else "rootfs")

    @property
    def path(self) -> Path:
        """Where the container's root directory is once `mounted`."""
        return self.directory / ("merged" if self.kind == "overlay" else "rootfs")

    @property
    def below(self) -> list[Path]:
        """What the container started from, topmost first."""
        return [self.directory / "init", *self.layers]

    def mount(self) -> None:
        """Make `path` the container's root until `release`, once nobody has it `mounted` for a moment.

        Raises MountFailed.
        """
        users = self._users()
        try:
            fcntl.flock(users, fcntl.LOCK_EX)
            with self._being_mounted():  # nobody joins and leaves before it is known that we are here
                self.unmount()  # of a process that was killed: programs may not run in a volatile one
                self._mount(volatile=self._short_lived)
                fcntl.flock(users, fcntl.LOCK_SH)
        except BaseException:
            os.close(users)
            raise
        self._mounted_by_us = users

    def release(self) -> None:
        """End `mount`; when somebody has it `mounted` at that moment, it stays until they are done."""
        if self._mounted_by_us is not None:
            self._leave(self._mounted_by_us)
            self._mounted_by_us = None

    def _mount(self, *, volatile: bool) -> None:
        if self.kind != "overlay" or is_mounted(self.path):
            return
        try:
            try:
                self._mount_overlay(volatile=volatile)
            except OSError as error:
                if not volatile or error.errno != errno.EINVAL:
                    raise
                self._mount_overlay(volatile=False)  # kernels before 5.10 know no such mounts
        except OSError as error:
            raise MountFailed(f"the container's file system cannot be mounted: {error.strerror}") from error

    def _mount_overlay(self, *, volatile: bool) -> None:
        mount_overlay(
            self.below,
            self.upper,
            self.directory / "work",
            self.path,
            user_xattr=self._privileges.user_xattr,
            volatile=volatile,
        )

    def unmount(self) -> None:
        """Take it away, whoever has it; also what a process that was killed has left."""
        if self.kind == "overlay":
            with contextlib.suppress(PermissionError):
                while unmount(self.path):
                    pass

    @contextlib.contextmanager
    def mounted(self) -> Iterator[Path]:
        """The root directory, unmounted again afterwards when nobody else uses it."""
        users = self._users()
        try:
            fcntl.flock(users, fcntl.LOCK_SH)
            with self._being_mounted():
                self._mount(volatile=True)  # for a moment, and no program runs in it
            yield self.path
        finally:
            self._leave(users)

    # Everybody who uses the mount has a shared lock, and the last one unmounts. Else the end of one would
    # take it away from another, who would go on in the empty directory below it.

    def _users(self) -> int:
        return os.open(self.directory / "mount.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)

    def _being_mounted(self) -> contextlib.AbstractContextManager[None]:
        """Whoever holds this lock waits for no other."""
        return locked(self.directory / "mounting.lock", exclusive=True)

    def _leave(self, users: int) -> None:
        try:
            if try_lock(users):
                self.unmount()
        finally:
            os.close(users)

    def view(self) -> Union:
        """The merged tree, to read. The caller closes it."""
        return Union([self.upper, *self.below] if self.kind == "overlay" else [self.upper])

    @contextlib.contextmanager
    def changes(self) -> Iterator[Iterator[TreeChange]]:
        """What the container did to its image."""
        with Union([self.upper]) as upper, Union(self.below) as below:
            compare = upper_changes if self.kind == "overlay" else tree_changes
            yield compare(upper, below)


def rootfs_of(containers: Containers, container: Container, snapshots: Snapshots) -> RootFs:
    """The files of a container that exists."""
    diff_ids = [Digest.parse(text) for text in container.diff_ids]
    layers = snapshots.paths(diff_ids)
    return RootFs(
        containers.directory(container),
        container.rootfs,
        layers,
        snapshots.privileges,
        short_lived=container.host.auto_remove,
    )


def make_rootfs(
    directory: Path,
    layers: Sequence[Path],
    privileges: Privileges,
    *,
    known_to_work: Path,
    allow_overlay: bool = True,
) -> RootFs:
    """The files of a new container, in an empty directory: an overlay where one can be mounted, else a
    copy.

    Raises MountFailed.
    """
    (directory / "init").mkdir(mode=0o755)
    with Union(layers) as image:
        _make_points(directory / "init", image)
    rootfs = RootFs(directory, "overlay", layers, privileges)
    for path in (rootfs.upper, directory / "work", rootfs.path):
        path.mkdir(mode=0o755)
    _copy_root_attributes(rootfs.below[0], rootfs.upper)
    if allow_overlay and known_to_work.exists():
        return rootfs
    if allow_overlay:
        try:
            mount_overlay(
                rootfs.below,
                rootfs.upper,
                directory / "work",
                rootfs.path,
                user_xattr=privileges.user_xattr,
                flags=MS_RDONLY,
            )
        except OSError as error:
            if error.errno not in _NO_OVERLAY:
                raise MountFailed(
                    f"the container's file system cannot be mounted: {error.strerror}"
                ) from error
        else:
            rootfs.unmount()
            known_to_work.touch()
            return rootfs
    return _copied(rootfs, privileges)


def _copied(rootfs: RootFs, privileges: Privileges) -> RootFs:
    for path in (rootfs.upper, rootfs.directory / "work", rootfs.path):
        with contextlib.suppress(OSError):
            path.rmdir()
    copy = RootFs(rootfs.directory, "copy", rootfs.layers, privileges)
    copy.upper.mkdir(mode=0o755)
    fd = os.open(copy.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with Union(rootfs.below) as merged:
            copy_tree(merged.roots, fd)
    finally:
        os.close(fd)
    return copy


def _copy_root_attributes(source: Path, target: Path) -> None:
    reading = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    writing = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        copy_attributes(reading, os.fstat(reading), writing)
    finally:
        os.close(reading)
        os.close(writing)


def _make_points(init: Path, image: Union) -> None:
    """The mount points that the image lacks, in directories with the image's attributes."""
    made: list[TreePath] = []
    for name, kind in _POINTS:
        path = parse_path(name.encode())
        if image.find(path) is not None:
            continue
        target = init / name
        if path[:-1] and not _ensure_parent(init, image, path[:-1], made):
            continue
        if kind is Kind.DIRECTORY:
            target.mkdir(mode=0o755)
        elif kind is Kind.SYMLINK:
            target.symlink_to("/proc/mounts")
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o755))
    if image.roots:
        for path in [*reversed(made), ()]:
            with Directory(init / os.fsdecode(b"/".join(path))) as directory:
                copy_directory_attributes(image, path, directory.fd)


def _ensure_parent(init: Path, image: Union, path: TreePath, made: list[TreePath]) -> bool:
    """Whether there is a directory in `init` to put a mount point in; never behind a link of the image."""
    own = init / os.fsdecode(b"/".join(path))
    if own.is_dir():
        return True
    found = image.find(path)
    if found is None or found.kind is not Kind.DIRECTORY:
        return False
    own.mkdir(mode=0o755)
    made.append(path)
    return True


def ensure_directory(rootfs: RootFs, path: str) -> None:
    """Make the working directory when the image has none, as docker does: root's, 0755. It becomes a
    change. Raises InvalidOption when something else is there."""
    wanted = parse_path(path.encode())
    with rootfs.view() as tree:
        resolved = tree.resolve(wanted)
        if not resolved:
            return
        found = tree.find(resolved)
    if found is not None:
        if found.kind is not Kind.DIRECTORY:
            raise InvalidOption(f"Cannot mkdir: {path} is not a directory")
        return
    with rootfs.mounted() as root, Directory(root) as directory:
        directory.open_directory(resolved, _make_directory)


def _make_directory(parent: int, path: TreePath) -> bytes | None:
    os.mkdir(path[-1], 0o755, dir_fd=parent)
    fd = os.open(path[-1], os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    try:
        os.fchmod(fd, 0o755)
    finally:
        os.close(fd)
    return None
