"""Layers as they are stored, compressed, and as they are read, plain.

Bytes flow as iterators of chunks. Inflating, hashing and writing each release the interpreter lock, so
`prefetched` puts a stage on its own thread and the stages overlap on two cores.
"""

from __future__ import annotations

import hashlib
import queue
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, Protocol

import zstandard
from isal import isal_zlib

from entrepot.layers.chunks import Writable
from entrepot.layers.errors import DiffIdMismatch, InvalidLayer, LayerLimitExceeded
from entrepot.layers.limits import DEFAULT_LIMITS, UnpackLimits
from entrepot.layers.zstd_frames import FrameScanner, NotZstd
from entrepot.oci.digest import Digest

Compression = Literal["gzip", "zstd"] | None

CHUNK_BYTES = 1 << 20
_INPUT_BYTES = 1 << 18
"""Compressed bytes given to an inflater at once. Each time costs a change of threads while another one writes
files;
with less, those cost more than inflating."""

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
BZIP2_MAGIC = b"BZh"
XZ_MAGIC = b"\xfd7zXZ\x00"
_XZ_MEMORY_BYTES = 256 << 20
_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
"""No name, no time, unknown system: the header that Go's writer makes, the same for the same bytes."""


_INFLATE_ERROR: type[Exception] = isal_zlib.error  # type: ignore[assignment]  # its stub names a value, not a class


class Readable(Protocol):
    """Anything with a `read`; a file, a socket, a blob stream."""

    def read(self, n: int, /) -> bytes: ...


def sniff_compression(head: bytes) -> Compression:
    """The compression of a layer that begins with these (at least four) bytes."""
    if head.startswith(GZIP_MAGIC):
        return "gzip"
    if head.startswith(ZSTD_MAGIC):
        return "zstd"
    return None


def read_chunks(stream: Readable, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    """A stream's bytes until its end."""
    while chunk := stream.read(size):
        yield chunk


def plain_chunks(stream: Readable, limits: UnpackLimits = DEFAULT_LIMITS) -> Iterator[bytes]:
    """The uncompressed bytes of a layer whose compression its first bytes tell. Raises InvalidLayer on
    damage.

    The media type is not asked: registries hold gzip layers under plain types and the reverse, and docker
    goes by the bytes too. What was not meant is caught by the diff ID.
    """
    head = b""
    while len(head) < 4 and (more := stream.read(_INPUT_BYTES)):
        head += more
    compression = sniff_compression(head)
    size = CHUNK_BYTES if compression is None else _INPUT_BYTES
    compressed = _Counted(head, stream, size)
    if compression == "gzip":
        plain = _gunzip(iter(compressed))
    elif compression == "zstd":
        plain = _unzstd(iter(compressed), limits)
    else:
        plain = iter(compressed)
    return _limited(plain, compressed, limits)


def inflated_chunks(head: bytes, stream: Readable, limits: UnpackLimits = DEFAULT_LIMITS) -> Iterator[bytes]:
    """As `plain_chunks`, bzip2 and xz too, which archives may have and layers have not.

    `head` is what the stream begins with, at least six bytes. Streams may follow one another, as parallel
    compressors write them and `cat` joins them, and zeros the last. Raises InvalidLayer for anything else,
    LayerLimitExceeded.
    """
    new: Callable[[], _Decompressor]
    if head.startswith(BZIP2_MAGIC):
        from bz2 import BZ2Decompressor

        new = BZ2Decompressor
    elif head.startswith(XZ_MAGIC):
        from lzma import FORMAT_XZ, LZMADecompressor

        new = partial(LZMADecompressor, FORMAT_XZ, memlimit=_XZ_MEMORY_BYTES)
    else:
        return plain_chunks(stream, limits)
    compressed = _Counted(b"", stream, _INPUT_BYTES)
    return _limited(_inflate(iter(compressed), new), compressed, limits)


class _Decompressor(Protocol):
    """What the objects of `bz2` and `lzma` share."""

    @property
    def eof(self) -> bool: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int = -1) -> bytes: ...


def _inflate(compressed: Iterator[bytes], new: Callable[[], _Decompressor]) -> Iterator[bytes]:
    from lzma import LZMAError

    inflater = None
    for data in compressed:
        while data or (inflater is not None and not inflater.needs_input):
            if inflater is None:
                data = data.lstrip(b"\0")
                if not data:
                    break
                inflater = new()
            try:
                chunk = inflater.decompress(data, CHUNK_BYTES)
            except (OSError, EOFError, LZMAError) as error:
                raise InvalidLayer(f"the layer's compressed data is damaged: {error}") from error
            data = b""
            if chunk:
                yield chunk
            if inflater.eof:
                data, inflater = inflater.unused_data, None
    if inflater is not None:
        raise InvalidLayer("the layer's compressed data ends early")


class _Counted:
    """Counts the compressed bytes that have been taken, for the ratio."""

    def __init__(self, head: bytes, stream: Readable, size: int) -> None:
        self._head = head
        self._stream = stream
        self._size = size
        self.taken = 0

    def __iter__(self) -> Iterator[bytes]:
        if self._head:
            self.taken += len(self._head)
            yield self._head
        for chunk in read_chunks(self._stream, self._size):
            self.taken += len(chunk)
            yield chunk


def _limited(plain: Iterator[bytes], compressed: _Counted, limits: UnpackLimits) -> Iterator[bytes]:
    total = 0
    for chunk in plain:
        total += len(chunk)
        if total > limits.max_bytes:
            raise LayerLimitExceeded(f"the layer unpacks to more than {limits.max_bytes} bytes")
        if total > limits.ratio_floor_bytes and total > compressed.taken * limits.max_ratio:
            raise LayerLimitExceeded(
                f"the layer unpacks to {total} bytes from {compressed.taken}, more than "
                f"{limits.max_ratio} to one",
                hint="layers that compress this well are almost always made to fill a disk",
            )
        yield chunk


def _gunzip(compressed: Iterator[bytes]) -> Iterator[bytes]:
    """Members one after another (RFC 1952 2.2); zeros may follow the last, anything else is refused."""
    inflater = None
    for data in compressed:
        while data:
            if inflater is None:
                data = data.lstrip(b"\0") if data[:1] == b"\0" else data
                if not data:
                    break
                inflater = isal_zlib.decompressobj(31)
            try:
                chunk = inflater.decompress(data, CHUNK_BYTES)
            except _INFLATE_ERROR as error:
                raise InvalidLayer(f"the layer's gzip data is damaged: {error}") from error
            if chunk:
                yield chunk
            if inflater.eof:
                data = inflater.unused_data
                inflater = None
            else:
                data = inflater.unconsumed_tail
                if not data and not chunk:
                    break
    if inflater is not None:
        yield from _last_of(inflater)


class _Inflater(Protocol):
    """What zlib's and ISA-L's objects share."""

    eof: bool

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _last_of(inflater: _Inflater) -> Iterator[bytes]:
    """What an inflater still holds after all input; an unfinished member is damage."""
    while not inflater.eof:
        try:
            chunk = inflater.decompress(b"", CHUNK_BYTES)
        except _INFLATE_ERROR as error:
            raise InvalidLayer(f"the layer's gzip data is damaged: {error}") from error
        if not chunk:
            break
        yield chunk
    if not inflater.eof:
        raise InvalidLayer("the layer's gzip data ends early")


def _unzstd(compressed: Iterator[bytes], limits: UnpackLimits) -> Iterator[bytes]:
    context = zstandard.ZstdDecompressor(max_window_size=limits.zstd_window_bytes)
    scanner = FrameScanner()
    source = _IteratorReader(_scanned(compressed, scanner))
    with context.stream_reader(source, read_size=_INPUT_BYTES, read_across_frames=True) as reader:  # type: ignore[arg-type]  # its stub asks for a whole IO object; it calls only read
        while True:
            try:
                chunk = reader.read(CHUNK_BYTES)
            except zstandard.ZstdError as error:
                raise InvalidLayer(
                    f"the layer's zstd data is damaged or asks for too much memory: {error}"
                ) from error
            if not chunk:
                break
            yield chunk
    if not scanner.at_end:
        raise InvalidLayer("the layer's zstd data ends early")


def _scanned(chunks: Iterator[bytes], scanner: FrameScanner) -> Iterator[bytes]:
    for chunk in chunks:
        try:
            scanner.feed(chunk)
        except NotZstd:
            raise InvalidLayer("the layer's zstd data is damaged or has something else behind it") from None
        yield chunk


class _IteratorReader:
    """`read` over an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        if not self._rest:
            self._rest = next(self._chunks, b"")
        piece, self._rest = (self._rest, b"") if size < 0 else (self._rest[:size], self._rest[size:])
        return piece


# Stages.


def hashed(chunks: Iterator[bytes], hasher: hashlib._Hash) -> Iterator[bytes]:
    """The same chunks, added to `hasher` on their way."""
    for chunk in chunks:
        hasher.update(chunk)
        yield chunk


def verified_diff(chunks: Iterator[bytes], diff_id: Digest) -> Iterator[bytes]:
    """The same chunks; raises DiffIdMismatch after the last when they are not the layer `diff_id` names.

    So a reader that stops at the end-of-archive block has not verified anything: `TarReader` reads on.
    """
    hasher = hashlib.new(diff_id.algorithm)
    yield from hashed(chunks, hasher)
    if hasher.hexdigest() != diff_id.hex:
        raise DiffIdMismatch(
            f"the layer unpacks to {diff_id.algorithm}:{hasher.hexdigest()}, but the image promises "
            f"{diff_id}",
            hint="the image was made wrongly; it can be neither unpacked nor run",
        )


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def prefetched(chunks: Iterator[bytes], depth: int = 4) -> Iterator[bytes]:
    """The same chunks, produced on a thread at most `depth` ahead. Errors come out where the chunk would
    have.

    The thread ends with the last chunk, or soon after the returned iterator is closed or forgotten.
    """
    ready: queue.Queue[object] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> bool:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False

    def produce() -> None:
        try:
            for chunk in chunks:
                if not put(chunk):
                    return
        except BaseException as error:  # noqa: BLE001 - handed over whole to the thread that asked
            put(_Failed(error))
        else:
            put(_END)

    def consume() -> Iterator[bytes]:
        thread = threading.Thread(target=produce, name="layer-prefetch", daemon=True)
        thread.start()
        try:
            while (item := ready.get()) is not _END:
                if isinstance(item, _Failed):
                    raise item.error
                assert isinstance(item, bytes)
                yield item
        finally:
            stopped.set()
            thread.join()

    return consume()


# Writing.


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
