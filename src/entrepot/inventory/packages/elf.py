"""Enough of ELF to find a section and to turn an address into a place in the file. Nothing is trusted."""

from __future__ import annotations

import struct

MAGIC = b"\x7fELF"
_MAX_HEADERS = 0xFFFF


class Elf:
    """Sections by name. A file that is cut has those whose headers are there."""

    def __init__(self, data: bytes | bytearray) -> None:
        self._data = data
        self.sections: dict[bytes, tuple[int, int]] = {}
        """Name → offset and size in the file."""
        self._loaded: list[tuple[int, int, int]] = []
        if len(data) < 64 or data[:4] != MAGIC or data[4] not in (1, 2) or data[5] not in (1, 2):
            self.pointer_bytes, self.order = 8, "<"
            return
        self.order = "<" if data[5] == 1 else ">"
        self.pointer_bytes = 8 if data[4] == 2 else 4
        try:
            self._read()
        except struct.error:
            self.sections.clear()

    def _read(self) -> None:
        wide, data = self.pointer_bytes == 8, self._data
        if wide:
            segments, sections = struct.unpack_from(self.order + "QQ", data, 32)
            segment_size, segment_count, size, count, names = struct.unpack_from(
                self.order + "HHHHH", data, 54
            )
        else:
            segments, sections = struct.unpack_from(self.order + "II", data, 28)
            segment_size, segment_count, size, count, names = struct.unpack_from(
                self.order + "HHHHH", data, 42
            )
        for index in range(min(segment_count, _MAX_HEADERS)):
            at = segments + index * segment_size
            if wide:
                kind, _, offset, address, _, length = struct.unpack_from(self.order + "IIQQQQ", data, at)
            else:
                kind, offset, address, _, length = struct.unpack_from(self.order + "IIIII", data, at)
            if kind == 1:
                self._loaded.append((address, offset, length))
        headers = []
        for index in range(min(count, _MAX_HEADERS)):
            at = sections + index * size
            if wide:
                name, _, _, _, offset, length = struct.unpack_from(self.order + "IIQQQQ", data, at)
            else:
                name, _, _, _, offset, length = struct.unpack_from(self.order + "IIIIII", data, at)
            headers.append((name, offset, length))
        if names >= len(headers):
            return
        start, length = headers[names][1:]
        table = bytes(data[start : start + min(length, 1 << 20)])
        for name, offset, length in headers:
            end = table.find(b"\0", name)
            if end > name:
                self.sections.setdefault(table[name:end], (offset, length))

    def section(self, name: bytes, max_bytes: int) -> bytes:
        """Its bytes, at most so many; empty when it is not there."""
        offset, length = self.sections.get(name, (0, 0))
        return bytes(self._data[offset : offset + min(length, max_bytes)])

    def at(self, address: int, length: int) -> bytes:
        """What is loaded at an address; empty when nothing is."""
        for start, offset, size in self._loaded:
            if start <= address < start + size:
                place = offset + address - start
                return bytes(self._data[place : place + length])
        return b""

    def pointer(self, raw: bytes) -> int:
        return int.from_bytes(raw[: self.pointer_bytes], "little" if self.order == "<" else "big")
