"""Layers as they are written: packed, and their digests taken on the way.

Hashing, deflating and writing each release the interpreter lock, so they are stages on threads of their own.
"""

from __future__ import annotations

import hashlib
import queue
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol

import zstandard
from isal import isal_zlib

from entrepot.layers.chunks import Writable
from entrepot.layers.compression import CHUNK_BYTES, Compression
from entrepot.oci.digest import Digest

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, unknown system: the header that Go's writer makes, the same for the same bytes."""


class _Compressor(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Deflate(Protocol):
    def compress(self, data: bytes | memoryview, /) -> bytes: ...

    def flush(self, mode: int, /) -> bytes: ...


class _Gzip:
    """A gzip member with a fixed header. `reproducible` uses zlib, whose output does not depend on the
    processor.

    Chunks that would not become smaller, as of files that are compressed already, are stored as they are (RFC
    1951,
    3.2.4): that takes next to no time.
    """

    def __init__(self, *, reproducible: bool) -> None:
        self._deflate: _Deflate = (
            zlib.compressobj(6, zlib.DEFLATED, -15)
            if reproducible
            else isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
        )
        self._may_store = not reproducible
        self._flushed = True
        self._crc = 0
        self._size = 0
        self._head = _GZIP_HEADER

    def compress(self, data: bytes | memoryview) -> bytes:
        self._crc = isal_zlib.crc32(data, self._crc)
        self._size += len(data)
        head, self._head = self._head, b""
        if self._may_store and _is_incompressible(data):
            # A full flush ends on a byte and lets nothing that follows point back over the stored blocks.
            before = b"" if self._flushed else self._deflate.flush(zlib.Z_FULL_FLUSH)
            self._flushed = True
            return b"".join((head, before, *_stored_blocks(data)))
        self._flushed = False
        return head + self._deflate.compress(data)

    def flush(self) -> bytes:
        trailer = struct.pack("<II", self._crc, self._size & 0xFFFFFFFF)
        return self._head + self._deflate.flush(zlib.Z_FINISH) + trailer


_STORED_BYTES = 0xFFFF
_SAMPLE_BYTES = 4096


def _stored_blocks(data: bytes | memoryview) -> Iterator[bytes | memoryview]:
    for at in range(0, len(data), _STORED_BYTES):
        piece = data[at : at + _STORED_BYTES]
        yield struct.pack("<BHH", 0, len(piece), len(piece) ^ 0xFFFF)
        yield piece


def _is_incompressible(data: bytes | memoryview) -> bool:
    """By four samples of a large chunk."""
    if len(data) < CHUNK_BYTES // 2:
        return False
    step = (len(data) - _SAMPLE_BYTES) // 3
    samples = (data[at : at + _SAMPLE_BYTES] for at in range(0, 3 * step + 1, step))
    return all(len(isal_zlib.compress(sample, 1)) >= _SAMPLE_BYTES for sample in samples)


class _Plain:
    def compress(self, data: bytes | memoryview) -> bytes:
        return bytes(data)

    def flush(self) -> bytes:
        return b""


def _compressor(compression: Compression, *, reproducible: bool) -> _Compressor:
    if compression == "gzip":
        return _Gzip(reproducible=reproducible)
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=3, write_checksum=True).compressobj()
    return _Plain()


class LayerWriter:
    """Takes a layer's tar stream through `write` and stores it compressed, hashing both forms as they pass.

    One thread hashes what comes in, one compresses, one hashes and stores what comes of that, a few megabytes
    behind.
    After `close` the attributes hold what a descriptor and an image config need. Closing twice is fine.
    """

    def __init__(
        self,
        out: Writable,
        compression: Compression = "gzip",
        *,
        reproducible: bool = False,
        hash_stored: bool = True,
    ) -> None:
        """`hash_stored=False` where `out` hashes what it stores itself; `digest` is not known then."""
        self._out = out
        self._compressor = _compressor(compression, reproducible=reproducible)
        self._plain_hash = hashlib.sha256()
        self._stored_hash = hashlib.sha256() if hash_stored else None
        self._pending = bytearray()
        self._storing = _Stage("layer-store", self._store)
        self._stages = [
            _Stage("layer-hash", self._plain_hash.update),
            _Stage("layer-compress", self._compress),
        ]
        self._closed = False
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        """Add bytes of the tar stream. Raises what storing earlier ones raised."""
        if len(data) >= CHUNK_BYTES:
            self._send()
            self._put(bytes(data))
        else:
            self._pending += data
            if len(self._pending) >= CHUNK_BYTES:
                self._send()
        return len(data)

    def close(self) -> None:
        """Finish the stream and the threads; raises what went wrong in them. Does not close `out`."""
        if self._closed:
            return
        self._closed = True
        self._send()
        for stage in (*self._stages, self._storing):
            stage.finish()
        for stage in (self._storing, *self._stages):
            stage.check()
        self._store(self._compressor.flush())

    def abandon(self) -> None:
        """End the threads without caring for the result."""
        if not self._closed:
            self._closed = True
            for stage in (*self._stages, self._storing):
                stage.finish()

    @property
    def diff_id(self) -> Digest:
        """Digest of the uncompressed tar stream."""
        return Digest("sha256", self._plain_hash.hexdigest())

    @property
    def digest(self) -> Digest:
        """Digest of what was stored."""
        assert self._stored_hash is not None
        return Digest("sha256", self._stored_hash.hexdigest())

    def _send(self) -> None:
        if self._pending:
            data, self._pending = bytes(self._pending), bytearray()
            self._put(data)

    def _put(self, data: bytes) -> None:
        for stage in self._stages:
            stage.put(data)

    def _compress(self, data: bytes) -> None:
        stored = self._compressor.compress(data)
        if stored:
            self._storing.put(stored)

    def _store(self, data: bytes) -> None:
        if self._stored_hash is not None:
            self._stored_hash.update(data)
        if data:
            self._out.write(data)
        self.size += len(data)


class _Stage:
    """Work on chunks, in order, on a thread of its own. After a failure the rest is thrown away."""

    def __init__(self, name: str, work: Callable[[bytes], None]) -> None:
        self._work = work
        self._queue: queue.Queue[bytes | None] = queue.Queue(4)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, data: bytes) -> None:
        self.check()
        self._queue.put(data)

    def finish(self) -> None:
        """Wait until everything is done. Once only."""
        self._queue.put(None)
        self._thread.join()

    def check(self) -> None:
        """Raises what went wrong so far."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            if self._error is None:
                try:
                    self._work(data)
                except BaseException as error:  # noqa: BLE001 - raised to the writer, on another thread
                    self._error = error
