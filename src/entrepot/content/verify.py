"""Whether bytes are what their descriptor promised.

A verified reader never takes more than one byte beyond the promised size from its source, so an
endless body costs nothing, and hands out the last bytes only when the whole is right.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.errors import VerificationFailed
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher


class DigestMismatch(VerificationFailed):
    """Right length or not, the bytes have another digest."""

    code = "digest-mismatch"

    def __init__(self, expected: Digest, actual: Digest) -> None:
        super().__init__(f"content of {expected} has the digest {actual}")
        self.expected = expected
        self.actual = actual


class SizeMismatch(VerificationFailed):
    """Fewer or more bytes than promised. `actual` is a lower bound when there were more."""

    code = "size-mismatch"

    def __init__(self, digest: Digest, expected: int, actual: int) -> None:
        more = f"more than {expected}" if actual > expected else str(actual)
        super().__init__(f"content of {digest} has {more} bytes instead of {expected}")
        self.digest = digest
        self.expected = expected
        self.actual = actual


class VerifiedReader:
    """A stream that raises DigestMismatch or SizeMismatch instead of ending wrong.

    `hasher` has been fed with the bytes before the stream's start, when it starts within the blob.
    Closing it closes the stream below.
    """

    def __init__(self, stream: BlobStream, descriptor: Descriptor, *, hasher: Hasher | None = None) -> None:
        self._stream = stream
        self._descriptor = descriptor
        self._hasher = hasher if hasher is not None else Hasher(descriptor.digest.algorithm)
        self.verified = False  # all bytes came and were right

    @property
    def offset(self) -> int:
        """How many bytes of the blob are known so far."""
        return self._hasher.size

    def read(self, size: int = -1, /) -> bytes:
        if size == 0:
            return b""
        if size < 0:
            pieces = []
            while piece := self.read(1024 * 1024):
                pieces.append(piece)
            return b"".join(pieces)
        remaining = self._descriptor.size - self.offset
        if remaining <= 0:
            self._finish()
            return b""
        data = self._stream.read(min(size, remaining))
        self._account(data)
        return data

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        view = memoryview(buffer)
        if not view.nbytes:
            return 0
        remaining = self._descriptor.size - self.offset
        if remaining <= 0:
            self._finish()
            return 0
        view = view[: min(view.nbytes, remaining)]
        count = self._stream.readinto(view)
        self._account(view[:count])
        return count

    def _account(self, data: bytes | memoryview) -> None:
        if not len(data):
            raise SizeMismatch(self._descriptor.digest, self._descriptor.size, self.offset)
        self._hasher.update(data)
        if self.offset == self._descriptor.size:
            self._check_digest()

    def _check_digest(self) -> None:
        actual = self._hasher.digest()
        if actual != self._descriptor.digest:
            raise DigestMismatch(self._descriptor.digest, actual)

    def _finish(self) -> None:
        if self.verified:
            return
        if self.offset > self._descriptor.size or self._stream.read(1):
            raise SizeMismatch(self._descriptor.digest, self._descriptor.size, self._descriptor.size + 1)
        self._check_digest()
        self.verified = True

    def close(self) -> None:
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


def verify_bytes(data: bytes, descriptor: Descriptor) -> None:
    """Raises SizeMismatch or DigestMismatch."""
    if len(data) != descriptor.size:
        raise SizeMismatch(descriptor.digest, descriptor.size, len(data))
    actual = Digest.of(data, descriptor.digest.algorithm)
    if actual != descriptor.digest:
        raise DigestMismatch(descriptor.digest, actual)


def verify_manifest(manifest: ManifestBytes) -> None:
    """Raises DigestMismatch."""
    actual = Digest.of(manifest.raw, manifest.digest.algorithm)
    if actual != manifest.digest:
        raise DigestMismatch(manifest.digest, actual)
