"""`cp`: files between a container and the host, with docker's rules for what the target means.

    SRC file: the target is the file, or a directory to put it into; a target ending in `/` has to be there
    SRC directory: a target that is there gets it as a child (`SRC/.`: its content); one that is not becomes
    it

Symlinks are copied as links unless `follow_link`, and then only the source itself. Into a container, files
keep the numbers of their owners; out of it they become the caller's, unless `archive`.
"""

from __future__ import annotations

import contextlib
import os
import posixpath
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import msgspec

from entrepot.actions.create import lifecycle_of
from entrepot.actions.errors import BadRequest
from entrepot.containers.errors import NoSuchPath
from entrepot.containers.lifecycle import Lifecycle
from entrepot.containers.records import Container
from entrepot.images.store import ImageStore
from entrepot.layers.apply import Form, LayerApplier
from entrepot.layers.compression import plain_chunks
from entrepot.layers.copy import EntryStream, Found, changed, found_below, write_found
from entrepot.layers.directory import Directory, by_descriptor
from entrepot.layers.entry import Entry, Kind
from entrepot.layers.ownership import PLAIN, ROOT, Privileges, current_privileges
from entrepot.layers.paths import Path as TreePath
from entrepot.layers.paths import parse_path
from entrepot.layers.tar_reader import TarReader
from entrepot.layers.tar_writer import TarWriter


@dataclass(frozen=True, slots=True)
class CopyOptions:
    """The flags of `cp`."""

    archive: bool = False
    """Keep owners."""
    follow_link: bool = False


def copy_from_container(
    name: str,
    source: str,
    target: Path | str | BinaryIO,
    *,
    options: CopyOptions = CopyOptions(),
    store: ImageStore | Path | str | None = None,
) -> None:
    """Copy out; into an open stream, as a tar. Raises NoSuchContainer, NoSuchPath, BadRequest."""
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    with _files(lifecycle, container) as files:
        place = files.locate(source, follow_last=options.follow_link or source.endswith("/"))
        status = place.status()
        if status is None:
            raise NoSuchPath(source, container.name)
        content_only = posixpath.basename(source) == "."
        if isinstance(target, (str, Path)):
            _write_out(place, status, content_only, str(target), options)
            return
        base = b"." if content_only else place.name
        with place.opened() as (fd, entry):
            found = found_below(fd, entry, base)
            write_found(TarWriter(target), _dotted(found, content_only))


def copy_to_container(
    source: Path | str | BinaryIO,
    name: str,
    target: str,
    *,
    options: CopyOptions = CopyOptions(),
    store: ImageStore | Path | str | None = None,
) -> None:
    """Copy in; from an open stream, a tar that is unpacked into the directory `target`.

    Raises NoSuchContainer, NoSuchPath, BadRequest, InvalidLayer.
    """
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    with _files(lifecycle, container) as files:
        place = files.locate(target)
        status = place.status()
        privileges = lifecycle.snapshots.privileges
        if not isinstance(source, (str, Path)):
            if status is None or not stat.S_ISDIR(status.st_mode):
                raise BadRequest(f'destination "{name}:{target}" must be a directory')
            _apply_tar(place, source, privileges)
            return
        _write_in(
            _HostSource.find(str(source), options), place, status, target, container, options, privileges
        )


# Places in a container.


@dataclass(frozen=True, slots=True)
class _Place:
    """A path without links below an open root."""

    root: Directory
    path: TreePath

    @property
    def name(self) -> bytes:
        return self.path[-1] if self.path else b"/"

    def status(self) -> os.stat_result | None:
        """None when there is nothing."""
        try:
            return self.root.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def parent_is_directory(self) -> bool:
        try:
            self.root.open_directory(self.path[:-1])
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def opened(self) -> Iterator[tuple[int, bytes]]:
        """The directory it is in, open for as long as the block, and its name there."""
        fd = os.dup(self.root.open_directory(self.path[:-1])[0])
        try:
            yield fd, self.path[-1] if self.path else b"."
        finally:
            os.close(fd)

    @contextlib.contextmanager
    def as_directory(self) -> Iterator[str]:
        """A path that means exactly this directory."""
        fd = os.dup(self.root.open_directory(self.path)[0])
        try:
            yield by_descriptor(fd)
        finally:
            os.close(fd)


class _Files:
    """A container's files, volumes included, for the time of one copy."""

    def __init__(self, root: Directory, mounts: dict[TreePath, Directory]) -> None:
        self._root = root
        self._mounts = mounts

    def locate(self, path: str, *, follow_last: bool = True) -> _Place:
        """Where a path leads, links resolved inside of the container."""
        wanted = parse_path(posixpath.normpath("/" + path).encode(errors="surrogateescape"))
        with contextlib.suppress(OSError):
            wanted = self._root.resolve(wanted, follow_last=follow_last)
        for length in range(len(wanted), 0, -1):
            inside = self._mounts.get(wanted[:length])
            if inside is not None:
                rest = wanted[length:]
                with contextlib.suppress(OSError):
                    rest = inside.resolve(rest, follow_last=follow_last)
                return _Place(inside, rest)
        return _Place(self._root, wanted)


@contextlib.contextmanager
def _files(lifecycle: Lifecycle, container: Container) -> Iterator[_Files]:
    state = lifecycle.settled_state(container)
    with contextlib.ExitStack() as stack:
        if state.status == "running":
            # What the container sees, mounts included; no `..` is ever walked there.
            root = stack.enter_context(Directory(f"/proc/{state.pid}/root"))
            yield _Files(root, {})
            return
        path = stack.enter_context(lifecycle.rootfs(container).mounted())
        root = stack.enter_context(Directory(path))
        mounts = {}
        for mount in container.host.mounts:
            if mount.source and Path(mount.source).is_dir():
                directory = stack.enter_context(Directory(mount.source))
                mounts[parse_path(mount.target.encode())] = directory
        yield _Files(root, mounts)


# Out of the container.


def _write_out(
    place: _Place, status: os.stat_result, content_only: bool, target: str, options: CopyOptions
) -> None:
    parent, new_name = _target_outside(place, status, content_only, target)
    privileges = _caller_privileges(options)
    with place.opened() as (fd, name), Directory(parent) as directory:
        found = found_below(fd, name, new_name)
        if not options.archive:
            found = changed(found, _made_by(os.geteuid(), os.getegid()))
        path = by_descriptor(directory.fd)
        LayerApplier(path, form=Form.COPY, privileges=privileges).apply(EntryStream(found))


def _caller_privileges(options: CopyOptions) -> Privileges:
    """Files on the host are made as their owner would; only root can give them to others or make devices."""
    privileges = current_privileges()
    return (
        privileges if os.geteuid() == 0 or options.archive else msgspec.structs.replace(PLAIN, records=False)
    )


def _target_outside(
    place: _Place, status: os.stat_result, content_only: bool, target: str
) -> tuple[str, bytes]:
    """The directory to write into and the name there; an empty name stands for the directory itself."""
    is_directory = stat.S_ISDIR(status.st_mode)
    here = Path(target)
    if here.is_dir():
        return target, b"" if content_only else place.name
    if here.is_symlink():  # what it leads to is written, not the link itself
        try:
            here = here.resolve()
        except (OSError, RuntimeError) as error:  # a circle; the latter until Python 3.13
            raise BadRequest(f'invalid output path: "{target}" leads to itself') from error
    if here.exists() and is_directory:
        raise BadRequest("cannot copy directory")
    if here.exists() and not here.is_file():
        raise BadRequest(f'invalid output path: "{target}" must be a directory or a regular file')
    if target.endswith("/") and not is_directory:
        raise BadRequest("no such directory")
    parent = here.absolute().parent
    if not parent.is_dir():
        raise BadRequest(f'invalid output path: directory "{parent}" does not exist')
    return str(parent), os.fsencode(here.name)


# Into the container.


@dataclass(frozen=True, slots=True)
class _HostSource:
    """A file or directory of the host."""

    parent: str
    name: bytes
    status: os.stat_result
    content_only: bool

    @classmethod
    def find(cls, source: str, options: CopyOptions) -> _HostSource:
        content_only = posixpath.basename(source) == "."
        path = Path(source).resolve() if options.follow_link or content_only else Path(source).absolute()
        try:
            status = path.stat() if source.endswith("/") else path.lstat()
        except OSError as error:
            reason = (error.strerror or "unreadable").lower()
            raise BadRequest(f"lstat {path}: {reason}") from error
        return cls(str(path.parent), os.fsencode(path.name) or b".", status, content_only)


def _write_in(
    source: _HostSource,
    place: _Place,
    status: os.stat_result | None,
    target: str,
    container: Container,
    options: CopyOptions,
    privileges: Privileges,
) -> None:
    is_directory = stat.S_ISDIR(source.status.st_mode)
    if status is not None and stat.S_ISDIR(status.st_mode):
        new_name = b"" if source.content_only else source.name
        into = place
    else:
        if status is not None and is_directory:
            raise BadRequest("cannot copy directory")
        if target.endswith("/") and not is_directory:
            raise BadRequest("no such directory")
        if not place.path or not place.parent_is_directory():
            raise NoSuchPath(posixpath.dirname(target) or "/", container.name)
        new_name, into = place.path[-1], _Place(place.root, place.path[:-1])
    with Directory(source.parent) as host, into.as_directory() as directory:
        found: Iterator[Found] = found_below(host.fd, source.name, new_name)
        if privileges != ROOT and not options.archive:
            found = changed(
                found, _owned_by(0, 0)
            )  # the caller, whose files these mostly are, is root inside
        LayerApplier(directory, form=Form.COPY, privileges=privileges).apply(EntryStream(found))


def _apply_tar(place: _Place, stream: BinaryIO, privileges: Privileges) -> None:
    with place.as_directory() as directory:
        reader = TarReader(plain_chunks(stream))
        LayerApplier(directory, form=Form.COPY, privileges=privileges).apply(reader)


def _made_by(uid: int, gid: int):  # type: ignore[no-untyped-def]
    """As if the caller had made the file: with no right that a program in the container has put into it.

    A setuid bit or a capability would hand the caller's rights to every user of the host, a device that is
    open to all the disk. docker keeps them; `cp` and `install` do not.
    """

    def change(entry: Entry) -> None:
        entry.uid, entry.gid = uid, gid
        entry.mode &= 0o700 if entry.kind in (Kind.CHAR_DEVICE, Kind.BLOCK_DEVICE) else 0o1777
        entry.xattrs.pop(b"security.capability", None)

    return change


def _owned_by(uid: int, gid: int):  # type: ignore[no-untyped-def]
    def change(entry: Entry) -> None:
        entry.uid, entry.gid = uid, gid

    return change


def _dotted(found: Iterator[Found], content_only: bool) -> Iterator[Found]:
    """`SRC/.` gives names that begin with `./`."""
    for each in found:
        if content_only and each.entry.name != b".":
            each.entry.name = b"./" + each.entry.name.removeprefix(b"./")
        yield each
