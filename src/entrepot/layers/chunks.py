"""A stream of bytes read in pieces of the producer's size and consumed in pieces of the consumer's.

The tar reader asks for 512 bytes at a time and a decompressor answers with a megabyte; this is the
buffer between them. Data is handed out as memoryviews of the producer's chunks, never copied.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from entrepot.layers.errors import InvalidLayer

_EMPTY = memoryview(b"")


class Writable(Protocol):
    """Where a stream goes: takes bytes and is then done with them."""

    def write(self, data: bytes | memoryview, /) -> object: ...


class ChunkBuffer:
    """Reads exact amounts from an iterator of chunks."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._chunk: memoryview = _EMPTY
        self._at = 0
        self.position = 0
        """Bytes handed out or skipped so far."""

    def _refill(self) -> bool:
        for chunk in self._chunks:
            if chunk:
                self._chunk = memoryview(chunk)
                self._at = 0
                return True
        self._chunk = _EMPTY
        self._at = 0
        return False

    def read_block(self, size: int) -> bytes | None:
        """Exactly `size` bytes, or None when the stream ended before the first. Raises InvalidLayer when it
        ended inside."""
        at = self._at
        if at + size <= len(self._chunk):
            self._at = at + size
            self.position += size
            return self._chunk[at : at + size].tobytes()
        parts = bytearray()
        while len(parts) < size:
            if self._at >= len(self._chunk) and not self._refill():
                if not parts:
                    return None
                raise InvalidLayer(
                    f"the layer ends in the middle of a block at byte {self.position + len(parts)}"
                )
            piece = self._chunk[self._at : self._at + size - len(parts)]
            parts += piece
            self._at += len(piece)
        self.position += size
        return bytes(parts)

    def pieces(self, size: int) -> Iterator[memoryview]:
        """`size` bytes as views; each is valid until the next is asked for. Raises InvalidLayer when the
        stream is shorter."""
        while size:
            if self._at >= len(self._chunk) and not self._refill():
                raise InvalidLayer(
                    f"the layer ends inside of a file at byte {self.position}, {size} bytes early"
                )
            piece = self._chunk[self._at : self._at + size]
            self._at += len(piece)
            self.position += len(piece)
            size -= len(piece)
            yield piece

    def skip(self, size: int) -> None:
        """Pass over `size` bytes. Raises InvalidLayer when the stream is shorter."""
        for _ in self.pieces(size):
            pass

    def rest(self) -> Iterator[memoryview]:
        """All that is left of the stream."""
        while self._at < len(self._chunk) or self._refill():
            piece = self._chunk[self._at :]
            self._at = len(self._chunk)
            self.position += len(piece)
            yield piece
