"""Blobs on their way into a layout: a copy may stop at any byte and go on in another process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from entrepot.content.errors import Interrupted
from entrepot.content.protocols import BlobStream, PutResult
from entrepot.content.verify import VerifiedReader
from entrepot.errors import VerificationFailed
from entrepot.files import is_same_file, new_name, try_lock, write_all
from entrepot.layout.blobs import BUFFER_BYTES, BlobFiles, hash_file
from entrepot.layout.paths import LayoutPaths
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher


class PartialBlobs:
    """The `partial/` directory of a layout.

    A partial file belongs to whoever has it locked. A second process that wants the same blob at the same
    time does not wait: it writes a file of its own, and the last rename wins with the same bytes.
    """

    def __init__(self, paths: LayoutPaths, files: BlobFiles) -> None:
        self._paths = paths
        self._files = files
        self._taken: dict[Digest, int] = {}
        self._mutex = threading.Lock()

    def held(self, descriptor: Descriptor) -> int:
        """Bytes here from a run that stopped; nothing while another process is at work on it."""
        try:
            fd = os.open(self._paths.partial(descriptor.digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            # Shared: it stops no other that only looks, and NFS gives no other lock to a reader.
            size = os.fstat(fd).st_size if try_lock(fd, exclusive=False) else 0
        finally:
            os.close(fd)
        return size if size < descriptor.size else 0

    def take(self, descriptor: Descriptor) -> int:
        """The same, and the partial file is this process's until `put` or `release`."""
        with self._mutex:
            fd = self._taken.get(descriptor.digest, -1)
            if fd < 0:
                fd = self._open(descriptor.digest)
                if fd < 0:
                    return 0
                self._taken[descriptor.digest] = fd
            size = os.fstat(fd).st_size
            if size >= descriptor.size:
                # Longer than it can be, or whole but never verified: begin again.
                os.ftruncate(fd, 0)
                size = 0
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

        Raises DigestMismatch or SizeMismatch, after which nothing of it is kept; Interrupted when what it was
        to go on from is another's by now.
        """
        path, fd = self._claim(descriptor)
        try:
            if offset > os.fstat(fd).st_size:
                raise Interrupted(f"another process has taken over the copy of {descriptor.digest}")
            _receive(descriptor, stream, fd, offset, progress)
            self._files.adopt(path, fd, descriptor.digest)
        except BaseException as error:
            # Of a file of one's own nobody would ever go on; nor should anybody with wrong bytes.
            is_own = path.parent != self._paths.partials
            if is_own or isinstance(error, VerificationFailed) or os.fstat(fd).st_size == 0:
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return PutResult.STORED

    def release(self) -> None:
        """Let go of what was taken and not used."""
        with self._mutex:
            for digest, fd in self._taken.items():
                if os.fstat(fd).st_size == 0:
                    self._paths.partial(digest).unlink(missing_ok=True)
                os.close(fd)
            self._taken.clear()

    def _claim(self, descriptor: Descriptor) -> tuple[Path, int]:
        """The partial file, locked; a file of one's own when another process has it."""
        path = self._paths.partial(descriptor.digest)
        with self._mutex:
            fd = self._taken.pop(descriptor.digest, -1)
        if fd < 0:
            fd = self._open(descriptor.digest)
        if fd < 0:
            path = self._paths.tmp / f"{descriptor.digest.hex[:16]}-{new_name()}"
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        return path, fd

    def _open(self, digest: Digest) -> int:
        """The partial file, made when missing, if the lock on it can be had; else -1."""
        path = self._paths.partial(digest)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if try_lock(fd) and is_same_file(fd, path):
            return fd
        os.close(fd)
        return -1


def _receive(
    descriptor: Descriptor, stream: BlobStream, fd: int, offset: int, progress: Callable[[int], None] | None
) -> None:
    hasher = Hasher(descriptor.digest.algorithm)
    os.ftruncate(fd, offset)
    hash_file(fd, hasher, offset)
    reader = VerifiedReader(stream, descriptor, hasher=hasher)
    buffer = bytearray(min(BUFFER_BYTES, max(descriptor.size, 1)))
    view = memoryview(buffer)
    while count := reader.readinto(buffer):
        write_all(fd, view[:count])
        if progress is not None:
            progress(count)
