"""How quickly background work reads stored bytes, so that pulls don't suffer."""

from __future__ import annotations

import asyncio

__all__ = ["ByteRate"]


class ByteRate:
    """No more than so many bytes a second, by all who share it; None or 0: as quickly as it goes."""

    def __init__(self, bytes_per_s: int | None) -> None:
        self._rate = bytes_per_s
        self._ahead = 0

    async def spend(self, count: int) -> None:
        """Sleep for as long as `count` bytes, which have been read, should have taken."""
        if not self._rate:
            return
        self._ahead += count
        if self._ahead >= self._rate // 10:
            owed, self._ahead = self._ahead, 0
            await asyncio.sleep(owed / self._rate)
