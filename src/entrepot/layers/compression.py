"""Layers as they are stored, compressed, and as they are read, plain.

Bytes flow as iterators of chunks. Inflating, hashing and writing each release the interpreter lock, so
`prefetched` puts a stage on its own thread and the stages overlap on two cores.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Literal, Protocol

import zstandard
from isal import isal_zlib

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
