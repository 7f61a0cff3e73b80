"""Where zstd frames begin and end (RFC 8878, 3.1), without inflating them.

The library's streaming reader takes input that stops in the middle of a frame for its end; this tells the
difference.
"""

from __future__ import annotations

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE = b"\x2a\x4d\x18"  # the last three bytes of 16 magic numbers
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CONTENT_SIZE_BYTES = (0, 2, 4, 8)
_RLE_BLOCK = 1


class NotZstd(Exception):
    """What follows a frame is no frame."""


class FrameScanner:
    """Follows the structure of a stream from chunk to chunk."""

    def __init__(self) -> None:
        self._skip = 0
        self._wanted = 4
        self._field = bytearray()
        self._step = self._magic
        self._between_frames = True
        self._checksum = False

    @property
    def at_end(self) -> bool:
        """Whether the stream may end here."""
        return self._between_frames and not self._field and not self._skip

    def feed(self, data: bytes) -> None:
        """Raises NotZstd."""
        at = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            piece = data[at : at + self._wanted - len(self._field)]
            self._field += piece
            at += len(piece)
            if len(self._field) == self._wanted:
                field, self._field = bytes(self._field), bytearray()
                self._step(field)

    def _expect(self, step: object, wanted: int) -> None:
        self._step, self._wanted = step, wanted  # type: ignore[assignment]  # bound methods of one signature

    def _magic(self, field: bytes) -> None:
        self._between_frames = False
        if field == _MAGIC:
            self._expect(self._descriptor, 1)
        elif field[1:] == _SKIPPABLE and field[0] & 0xF0 == 0x50:
            self._expect(self._skippable, 4)
        else:
            raise NotZstd

    def _skippable(self, field: bytes) -> None:
        self._frame_ended()
        self._skip = int.from_bytes(field, "little")

    def _descriptor(self, field: bytes) -> None:
        flags = field[0]
        single_segment = bool(flags & 0x20)
        self._checksum = bool(flags & 0x04)
        content = _CONTENT_SIZE_BYTES[flags >> 6] or int(single_segment)
        self._skip = (0 if single_segment else 1) + _DICTIONARY_BYTES[flags & 3] + content
        self._expect(self._block, 3)

    def _block(self, field: bytes) -> None:
        word = int.from_bytes(field, "little")
        self._skip = 1 if (word >> 1) & 3 == _RLE_BLOCK else word >> 3
        if word & 1:
            if self._checksum:
                self._skip += 4
            self._frame_ended()

    def _frame_ended(self) -> None:
        self._between_frames = True
        self._expect(self._magic, 4)
