"""Blobs of one repository, read over HTTP (distribution-spec: Pulling Blobs).

A stream goes on by itself after a broken connection: it asks again from the byte it stopped at.
"""

from __future__ import annotations

import io
import time
from types import TracebackType
from typing import Self

import msgspec

from entrepot.client.answers import refusal
from entrepot.client.errors import RegistryMisbehaved
from entrepot.client.place import Place
from entrepot.client.transport import BUFFER_BYTES, Answer, ConnectionBroken
from entrepot.content.errors import BlobNotFound
from entrepot.content.protocols import BlobStream
from entrepot.content.verify import SizeMismatch
from entrepot.oci import distribution, mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest

_UNKNOWN = -1  # a size
# A connection that brought at least this much was a working one: the count of tries starts again.
_PROGRESS_BYTES = 256 * 1024
# Sizes of one read, and the times that make it larger or smaller.
_FIRST_STEP_BYTES = 128 * 1024
_MIN_STEP_BYTES = 16 * 1024
_QUICK_READ_S = 0.05
_SLOW_READ_S = 0.25


def open_blob(place: Place, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
    """Bytes from `offset`, not verified. Raises BlobNotFound, SizeMismatch and the errors of a request."""
    if descriptor.data is not None:
        return io.BytesIO(descriptor.data[offset:])
    if offset >= descriptor.size > 0:
        return io.BytesIO()
    return RemoteBlob(place, descriptor, offset)


def open_unsized(place: Place, digest: Digest) -> RemoteBlob:
    """The same of a blob whose size the registry has to tell: see `RemoteBlob.size`.

    Raises RegistryMisbehaved when it does not.
    """
    return RemoteBlob(place, Descriptor(mediatype.OCTET_STREAM, digest, _UNKNOWN), 0)


def find_blob(place: Place, digest: Digest) -> int | None:
    """Its size by HEAD; None when it is missing. Raises RegistryMisbehaved when no size is told."""
    answer = place.request("HEAD", distribution.blob_path(place.repository, digest))
    with answer:
        if answer.status == 404:
            answer.discard()
            return None
        if answer.status != 200:
            raise refusal(answer, place.subject(f"blob {place.shown(digest)}", missing=BlobNotFound))
        size = answer.content_length
        answer.discard()
    if size is None:
        raise RegistryMisbehaved(f"registry {place.registry} does not say how large {place.shown(digest)} is")
    return size


def has_blob(place: Place, descriptor: Descriptor) -> bool:
    """By HEAD. A size other than the descriptor's counts as missing."""
    answer = place.request("HEAD", distribution.blob_path(place.repository, descriptor.digest))
    with answer:
        # A refusal of HEAD has no words. The upload that follows is refused with them, or is allowed.
        refused = "push" in place.actions and answer.status in {401, 403}
        if answer.status == 404 or refused:
            answer.discard()
            return False
        if answer.status != 200:
            raise refusal(answer, place.subject(f"blob {place.shown(descriptor.digest)}"))
        size = answer.content_length
        answer.discard()
    return size is None or size == descriptor.size


class RemoteBlob:
    """A `BlobStream` over as many connections as it takes."""

    def __init__(self, place: Place, descriptor: Descriptor, offset: int) -> None:
        self._place = place
        self._descriptor = descriptor
        self._position = offset
        self._attempt = 1
        self._since_open = 0
        self._step = _FIRST_STEP_BYTES
        self._answer: Answer | None = None
        self._length_known = False
        self._abandoned = False
        self._open()

    @property
    def size(self) -> int:
        """Bytes of the whole blob."""
        return self._descriptor.size

    def abandon(self) -> None:
        """End a read that waits in another thread, and every later one: they raise RegistryUnreachable."""
        self._abandoned = True
        answer = self._answer
        if answer is not None:
            answer.shut_down()

    @property
    def _remaining(self) -> int:
        return self._descriptor.size - self._position

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Raises RegistryUnreachable when the connection broke and trying again did not help."""
        view = memoryview(buffer)[: self._step]
        while len(view):
            if self._answer is None or (self._remaining == 0 and self._length_known):
                return 0
            began = time.monotonic()
            try:
                count = self._answer.readinto(view)
            except ConnectionBroken as error:
                self._resume(error)
                continue
            if count:
                self._position += count
                self._since_open += count
                self._adapt(time.monotonic() - began)
                return count
            if self._remaining <= 0:
                self._answer.release()
                self._answer = None
                return 0
            if self._ended_cleanly():
                raise SizeMismatch(self._descriptor.digest, self._descriptor.size, self._position)
            self._resume(ConnectionBroken("the connection was closed in the middle", sent=True))
        return 0

    def read(self, size: int = -1, /) -> bytes:
        if size == 0:
            return b""
        if size < 0:
            pieces = []
            while piece := self.read(BUFFER_BYTES):
                pieces.append(piece)
            return b"".join(pieces)
        buffer = bytearray(min(size, BUFFER_BYTES))
        count = self.readinto(buffer)
        del buffer[count:]
        return bytes(buffer)

    def close(self) -> None:
        if self._answer is not None:
            if self._remaining == 0 and self._length_known:
                self._answer.release()
            else:
                self._answer.close()
            self._answer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()

    def _adapt(self, elapsed_s: float) -> None:
        """A read returns when its buffer is full: on a slow line, small ones keep progress in sight."""
        if elapsed_s < _QUICK_READ_S:
            self._step = min(self._step * 2, BUFFER_BYTES)
        elif elapsed_s > _SLOW_READ_S:
            self._step = max(self._step // 2, _MIN_STEP_BYTES)

    def _ended_cleanly(self) -> bool:
        """Whether the end was marked by the server rather than by a lost connection."""
        return (
            self._answer is not None and "chunked" in (self._answer.header("Transfer-Encoding") or "").lower()
        )

    def _resume(self, cause: ConnectionBroken) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if self._since_open >= _PROGRESS_BYTES:
            self._attempt = 1
        while True:
            if self._abandoned or not self._place.session.pause(self._attempt):
                raise self._place.session.unreachable(cause) from cause
            self._attempt += 1
            try:
                self._open()
                return
            except ConnectionBroken as error:
                cause = error

    def _open(self) -> None:
        self._since_open = 0
        path = distribution.blob_path(self._place.repository, self._descriptor.digest)
        headers = {"Range": f"bytes={self._position}-"} if self._position else {}
        answer = self._place.request("GET", path, headers=headers)
        try:
            self._accept(answer)
        except BaseException:
            answer.close()
            raise
        self._answer = answer

    def _accept(self, answer: Answer) -> None:
        shown = self._place.shown(self._descriptor.digest)
        if answer.status == 416:
            raise SizeMismatch(self._descriptor.digest, self._descriptor.size, self._position)
        if answer.status not in {200, 206}:
            raise refusal(answer, self._place.subject(f"blob {shown}", missing=BlobNotFound))
        answer.require_identity()
        length = answer.content_length
        self._length_known = length is not None
        if self._descriptor.size == _UNKNOWN:
            if answer.status != 200 or length is None:
                raise RegistryMisbehaved(f"registry {self._place.registry} does not say how large {shown} is")
            self._descriptor = msgspec.structs.replace(self._descriptor, size=length)
        if answer.status == 206:
            start = _start_of(answer.header("Content-Range"))
            if start != self._position:
                raise RegistryMisbehaved(
                    f"registry {self._place.registry} sent another part of {shown} than was asked for"
                )
            expected = self._remaining
        else:
            expected = self._descriptor.size
        if length is not None and length != expected:
            raise SizeMismatch(
                self._descriptor.digest, self._descriptor.size, self._descriptor.size - expected + length
            )
        if answer.status == 200 and self._position:
            self._skip(answer, self._position)

    def _skip(self, answer: Answer, count: int) -> None:
        """The registry ignores Range: read past what is held already."""
        buffer = memoryview(bytearray(min(count, BUFFER_BYTES)))
        while count:
            got = answer.readinto(buffer[: min(count, len(buffer))])
            if not got:
                raise ConnectionBroken("the connection was closed in the middle", sent=True)
            count -= got


def _start_of(content_range: str | None) -> int | None:
    unit, _, rest = (content_range or "").strip().partition(" ")
    start = rest.partition("-")[0].strip()
    return int(start) if unit.lower() == "bytes" and start.isascii() and start.isdigit() else None
