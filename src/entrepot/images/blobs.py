"""Blob files: complete, verified, never changed; and the partial downloads they grow from."""

from __future__ import annotations

import errno
import io
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from entrepot.content.errors import BlobNotFound, Interrupted
from entrepot.content.protocols import BlobStream, PutResult
from entrepot.content.verify import DigestMismatch, VerifiedReader
from entrepot.errors import VerificationFailed
from entrepot.images.errors import StoreFull
from entrepot.images.files import fsync_directory, give_name, open_new, try_lock, write_all
from entrepot.images.paths import StorePaths
from entrepot.images.privacy import make_private
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher, InvalidDigest

BUFFER_BYTES = 1 << 20
"""One read, one hash update, one write. Larger gains nothing on loopback; memory is this times streams."""


class BlobFiles:
    """The `blobs/` directory of a store."""

    def __init__(self, paths: StorePaths, *, durable: bool = False) -> None:
        self._paths = paths
        self._durable = durable

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
        """The bytes from `offset`. The caller closes. Raises NotFound."""
        try:
            file = self.path(digest).open("rb", buffering=0)
        except FileNotFoundError:
            raise BlobNotFound(
                f"blob {digest} is not in the store {self._paths.root}",
                hint="pull or load the image it belongs to again",
            ) from None
        if offset:
            file.seek(offset)
        return file

    def read(self, digest: Digest, *, max_bytes: int = 64 << 20) -> bytes:
        """All of a small blob (a manifest, a config), checked against its digest."""
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
                _hash_file(file.fileno(), hasher, os.fstat(file.fileno()).st_size)
                if hasher.digest() == digest or not _is_same_file(file.fileno(), self.path(digest)):
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
        return BlobWriter(self, self._paths.tmp / secrets.token_hex(8), algorithm)

    def adopt(self, temporary: Path, fd: int, digest: Digest) -> None:
        """Give a complete, verified file its name."""
        if self._durable:
            os.fsync(fd)
        path = self.path(digest)
        try:
            temporary.rename(path)
        except FileNotFoundError:
            make_private(path.parent)  # an algorithm nobody used here before
            temporary.rename(path)
        if self._durable:
            fsync_directory(path.parent)

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


class PartialDownloads:
    """Downloads that may stop at any byte and go on in another process.

    A partial file belongs to whoever has it locked. A second process that wants the same blob at the same
    time does not wait: it downloads into a file of its own, and the last rename wins with the same bytes.
    """

    def __init__(self, paths: StorePaths, files: BlobFiles) -> None:
        self._paths = paths
        self._files = files
        self._open: dict[Digest, int] = {}
        self._mutex = threading.Lock()

    def offset(self, descriptor: Descriptor) -> int:
        """Bytes already here from a run that stopped. Takes the partial file for this process."""
        with self._mutex:
            if descriptor.digest in self._open:
                return os.fstat(self._open[descriptor.digest]).st_size
            path = self._paths.partial(descriptor.digest)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if not try_lock(fd) or not _is_same_file(fd, path):
                os.close(fd)
                return 0
            size = os.fstat(fd).st_size
            if size >= descriptor.size:
                # Longer than it can be, or whole but never verified: begin again.
                os.ftruncate(fd, 0)
                size = 0
            self._open[descriptor.digest] = fd
            return size

    def put(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int,
        progress: Callable[[int], None] | None,
    ) -> PutResult:
        """Store a blob from a stream that begins at `offset`. What has arrived stays when the stream breaks.

        Raises DigestMismatch or SizeMismatch, after which nothing of it is kept.
        """
        self.offset(descriptor)
        with self._mutex:
            fd = self._open.pop(descriptor.digest, -1)
        path = self._paths.partial(descriptor.digest)
        if fd < 0:
            path = self._paths.tmp / f"{descriptor.digest.hex[:16]}-{secrets.token_hex(8)}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        keep = path.parent == self._paths.partials
        try:
            if offset > os.fstat(fd).st_size:
                raise Interrupted(f"another process has taken over the download of {descriptor.digest}")
            _receive(descriptor, stream, fd, offset, progress)
            self._files.adopt(path, fd, descriptor.digest)
        except VerificationFailed:
            path.unlink(missing_ok=True)
            raise
        except BaseException as error:
            if not keep or os.fstat(fd).st_size == 0:
                path.unlink(missing_ok=True)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(str(descriptor.digest), self._paths.root) from error
            raise
        finally:
            os.close(fd)
        return PutResult.STORED

    def release(self) -> None:
        """Let go of what was taken and not used."""
        with self._mutex:
            for digest, fd in self._open.items():
                if os.fstat(fd).st_size == 0:
                    self._paths.partial(digest).unlink(missing_ok=True)
                os.close(fd)
            self._open.clear()


def _is_same_file(fd: int, path: Path) -> bool:
    """Whether `path` still is the open file: it may have become a blob between open and lock."""
    try:
        named = path.stat()
    except FileNotFoundError:
        return False
    mine = os.fstat(fd)
    return (named.st_dev, named.st_ino) == (mine.st_dev, mine.st_ino)


def _receive(
    descriptor: Descriptor, stream: BlobStream, fd: int, offset: int, progress: Callable[[int], None] | None
) -> None:
    hasher = Hasher(descriptor.digest.algorithm)
    os.ftruncate(fd, offset)
    _hash_file(fd, hasher, offset)
    reader = VerifiedReader(stream, descriptor, hasher=hasher)
    buffer = bytearray(BUFFER_BYTES)
    view = memoryview(buffer)
    while count := reader.readinto(buffer):
        write_all(fd, view[:count])
        if progress is not None:
            progress(count)


def _hash_file(fd: int, hasher: Hasher, count: int) -> None:
    os.lseek(fd, 0, os.SEEK_SET)
    left = count
    while left > 0:
        data = os.read(fd, min(left, BUFFER_BYTES))
        if not data:
            break
        hasher.update(data)
        left -= len(data)
