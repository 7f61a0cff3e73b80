"""Blob files of a layout: complete, verified, never changed."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Set
from contextlib import suppress
from pathlib import Path

import msgspec

from entrepot.content.errors import BlobNotFound
from entrepot.content.verify import DigestMismatch
from entrepot.errors import VerificationFailed
from entrepot.files import (
    fsync_directory,
    give_name,
    is_same_file,
    make_folder,
    new_name,
    open_new,
    write_all,
)
from entrepot.layout.paths import LayoutPaths
from entrepot.oci.digest import Digest, Hasher, InvalidDigest

BUFFER_BYTES = 1 << 20
MakeFolder = Callable[[Path], None]
"""Makes a directory that may be there already."""
"""One read, one hash update, one write. Larger gains nothing on loopback; memory is this times streams."""


class Freed(msgspec.Struct, frozen=True):
    """What a collection removed."""

    blobs: tuple[Digest, ...]
    bytes: int


class BlobFiles:
    """The `blobs/` directory of a layout. With `durable`, a blob that has its name survives a power cut."""

    def __init__(self, paths: LayoutPaths, *, durable: bool, make_folder: MakeFolder = make_folder) -> None:
        self._paths = paths
        self._durable = durable
        self._make_folder = make_folder

    def path(self, digest: Digest) -> Path:
        return self._paths.blob(digest)

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether it is here; a file of another length is damage and counts as not being here."""
        try:
            found = self.path(digest).stat().st_size
        except FileNotFoundError:
            return False
        return size is None or found == size

    def size(self, digest: Digest) -> int | None:
        try:
            return self.path(digest).stat().st_size
        except FileNotFoundError:
            return None

    def open(self, digest: Digest, offset: int = 0) -> io.FileIO:
        """The bytes from `offset`. The caller closes. Raises BlobNotFound."""
        try:
            file = self.path(digest).open("rb", buffering=0)
        except FileNotFoundError:
            raise BlobNotFound(
                f"blob {digest} is not in {self._paths.label}",
                hint="pull or load the image it belongs to again",
            ) from None
        if offset:
            file.seek(offset)
        return file

    def read(self, digest: Digest, *, max_bytes: int = 64 << 20) -> bytes:
        """All of a small blob (a manifest, a config), checked against its digest.

        Raises VerificationFailed.
        """
        with self.open(digest) as file:
            data = file.read(max_bytes + 1)
        found = Digest.of(data, digest.algorithm)
        if found != digest:
            raise VerificationFailed(
                f"{self.path(digest)} is damaged: it holds {found}",
                hint="remove the image and pull it again",
            )
        return data

    def remove_if_damaged(self, digest: Digest) -> bool:
        """Whether the bytes were others than their digest says; they are gone then, so that the next pull or
        load brings them again. Reads the whole blob."""
        try:
            with self.open(digest) as file:
                hasher = Hasher(digest.algorithm)
                hash_file(file.fileno(), hasher, os.fstat(file.fileno()).st_size)
                if hasher.digest() == digest or not is_same_file(file.fileno(), self.path(digest)):
                    return False
                self.path(digest).unlink(missing_ok=True)
        except BlobNotFound:
            return False
        return True

    def put_bytes(self, data: bytes, algorithm: str = "sha256") -> Digest:
        """Store a small blob. It may be there already."""
        digest = Digest.of(data, algorithm)
        if not self.has(digest, len(data)):
            writer = self.writer()
            with writer:
                writer.write(data)
                writer.commit(digest)
        return digest

    def writer(self, algorithm: str = "sha256") -> BlobWriter:
        """A new blob whose digest is not known yet."""
        return BlobWriter(self, self._paths.tmp / new_name(), algorithm)

    def adopt(self, temporary: Path, fd: int, digest: Digest) -> None:
        """Give a complete, verified file its name."""
        if self._durable:
            os.fsync(fd)
        path = self.path(digest)
        try:
            temporary.rename(path)
        except FileNotFoundError:
            self._make_folder(path.parent)  # an algorithm nobody used here before
            temporary.rename(path)
        if self._durable:
            fsync_directory(path.parent)

    def remove_all_but(self, needed: Set[str]) -> Freed:
        """Collect garbage. The caller sees to it that nobody counts on anything else."""
        freed, size = [], 0
        for digest, entry in self.all():
            if str(digest) not in needed:
                size += entry.stat(follow_symlinks=False).st_size
                Path(entry.path).unlink(missing_ok=True)
                freed.append(digest)
        return Freed(tuple(freed), size)

    def all(self) -> Iterator[tuple[Digest, os.DirEntry[str]]]:
        """Every blob file there is."""
        for algorithm in self._paths.blobs.iterdir():
            with os.scandir(algorithm) as found:
                for entry in found:
                    with suppress(InvalidDigest):  # somebody's file, none of ours
                        yield Digest.parse(f"{algorithm.name}:{entry.name}"), entry


class BlobWriter:
    """Bytes on their way to becoming a blob: hashed as they come, named by `commit`, gone without it."""

    def __init__(self, files: BlobFiles, path: Path, algorithm: str) -> None:
        self._files = files
        self.path = path
        self._hasher = Hasher(algorithm)
        self._fd, self._has_name = open_new(path, 0o644)

    @property
    def size(self) -> int:
        return self._hasher.size

    def digest(self) -> Digest:
        """Of what has been written so far."""
        return self._hasher.digest()

    def write(self, data: bytes | memoryview) -> int:
        self._hasher.update(data)
        write_all(self._fd, data)
        return len(data)

    def commit(self, expected: Digest | None = None) -> Digest:
        """Name the blob. Raises DigestMismatch, after which it is gone."""
        digest = self._hasher.digest()
        if expected is not None and digest != expected:
            raise DigestMismatch(expected, digest)
        if not self._has_name:
            give_name(self._fd, self.path)
            self._has_name = True
        self._files.adopt(self.path, self._fd, digest)
        self.close()
        return digest

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
            if self._has_name:
                self.path.unlink(missing_ok=True)

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def hash_file(fd: int, hasher: Hasher, count: int) -> None:
    """The first `count` bytes of an open file; it is read to there."""
    os.lseek(fd, 0, os.SEEK_SET)
    left = count
    while left > 0:
        data = os.read(fd, min(left, BUFFER_BYTES))
        if not data:
            break
        hasher.update(data)
        left -= len(data)
