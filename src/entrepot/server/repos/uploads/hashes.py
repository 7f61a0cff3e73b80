"""The digest of an upload's bytes so far.

It lives in three places, each believed only while it must be right:

* in this process, with how many bytes it covers; what is missing is read from the store;
* in the row, at the end of each request, for a process of the same boot of the machine: so the closing PUT
  costs nothing on any worker;
* in the bytes themselves, which are read again when nothing else is left.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from entrepot.oci.digest import Digest, Hasher
from entrepot.server.db.clock import boot_id
from entrepot.server.repos.uploads.rows import UploadRow
from entrepot.server.storage.store import BlobStore

__all__ = ["Hashes"]

REMEMBERED: Final = 4096
"""Running hashes kept by one process."""


@dataclass(slots=True)
class _Running:
    """The hash of the first `hasher.size` bytes of a physical upload."""

    phys: str
    hasher: Hasher


class Hashes:
    """What one process remembers."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._running: OrderedDict[str, _Running] = OrderedDict()

    def remember(self, upload_id: str, phys: str, hasher: Hasher) -> None:
        """The hash of all that `phys` holds, until more is appended."""
        self._running[upload_id] = _Running(phys, hasher)
        self._running.move_to_end(upload_id)
        while len(self._running) > REMEMBERED:
            self._running.popitem(last=False)

    def forget(self, upload_id: str) -> None:
        """The upload has ended, or its bytes are not what they were."""
        self._running.pop(upload_id, None)

    async def take(self, row: UploadRow, algorithm: str) -> Hasher:
        """The hash of everything recorded, to go on with, from memory as far as that goes. Raises
        UploadShort.
        """
        running = self._running.pop(row.id, None)
        usable = (
            running is not None
            and running.phys == row.phys
            and running.hasher.algorithm == algorithm
            and running.hasher.size <= row.offset
        )
        hasher = running.hasher if running is not None and usable else Hasher(algorithm)
        if hasher.size < row.offset:
            async for piece in await self._store.read_upload(row.phys, hasher.size, row.offset):
                hasher.update(piece)
        return hasher

    async def digest(self, row: UploadRow, algorithm: str) -> Digest:
        """The digest of everything recorded, without reading if somebody in this boot knew it. Raises
        UploadShort.
        """
        running = self._running.get(row.id)
        known = running is not None and running.phys == row.phys and running.hasher.size == row.offset
        if running is not None and known and running.hasher.algorithm == algorithm:
            return running.hasher.digest()
        if row.digest_so_far and row.boot_id == boot_id() and row.algorithm == algorithm:
            return Digest.parse(row.digest_so_far)
        return (await self.take(row, algorithm)).digest()

    def so_far(self, row: UploadRow) -> Digest | None:
        """What to record with the row's offset; None when nobody knows without reading."""
        running = self._running.get(row.id)
        if running is not None and running.hasher.size == row.offset:
            return running.hasher.digest()
        return Digest.parse(row.digest_so_far) if row.digest_so_far and row.boot_id == boot_id() else None
