"""The files of a backup, over any place, encrypted or not.

::

    entrepot-backup.json             whose backups these are, and whether they are encrypted
    snapshots/<time>.json            one run: when, schema, how many
    snapshots/<time>.rows            its catalog: see `rows`
    access.key                       what is sealed in the catalog opens with it; only when encrypted
    blobs/<algorithm>/<hex>          shared by all runs; encrypted: blobs/<name that tells nothing>

A run writes its `.json` last, so a run that was interrupted is none, and what it copied serves the next one.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from entrepot.oci.digest import Digest
from entrepot.server.operations.crypt import BackupKey
from entrepot.server.operations.errors import BackupInvalid, BackupMissing
from entrepot.server.operations.places import BackupPlace

__all__ = ["Archive", "Snapshot"]

FORMAT: Final = 1
_HEAD: Final = "entrepot-backup.json"
_SNAPSHOTS: Final = "snapshots"
_SEAL_FILE: Final = "access.key"


@dataclass(frozen=True, slots=True, order=True)
class Snapshot:
    """One run of `backup`."""

    name: str
    """Its time, as `20250131T235959Z`; sorts by time."""
    store_id: str
    epoch: int
    schema: str
    blobs: int
    bytes: int
    rows: int
    damaged: tuple[str, ...] = ()
    """Digests whose bytes could not be backed up."""


class Archive:
    """Snapshots and blobs by name. Made by `Archive.open`."""

    def __init__(self, place: BackupPlace, key: BackupKey | None) -> None:
        self._place = place
        self._key = key

    @classmethod
    async def open(cls, place: BackupPlace, key: BackupKey | None, *, store_id: str | None = None) -> Archive:
        """The backups in `place`; with a `store_id` they are that registry's, and begun when there are none.

        Raises BackupMissing, BackupInvalid.
        """
        try:
            head = msgspec.json.decode(await _all(place.get(_HEAD)))
        except BackupMissing:
            if store_id is None:
                raise BackupMissing("there is no backup of entrepot here") from None
            head = {"format": FORMAT, "store_id": store_id, "encrypted": key is not None}
            raw = msgspec.json.encode(head)
            await place.put(_HEAD, _once(raw), len(raw))
        except msgspec.DecodeError as error:
            raise BackupInvalid(f"{_HEAD} is damaged") from error
        if head.get("format") != FORMAT:
            raise BackupInvalid("these backups were made by another version of entrepot")
        if store_id is not None and head["store_id"] != store_id:
            raise BackupInvalid("these backups are another registry's", hint="name another place")
        if head["encrypted"] and key is None:
            raise BackupInvalid("these backups are encrypted", hint="give the key file with --key")
        if not head["encrypted"] and key is not None:
            raise BackupInvalid(
                "these backups are not encrypted", hint="name another place, or leave out --key"
            )
        return cls(place, key)

    async def has_blob(self, digest: Digest, size: int) -> bool:
        """Whether the whole blob is kept here, by its size."""
        return await self._place.size(self._blob(digest)) == self._kept(size)

    async def put_blob(self, digest: Digest, size: int, pieces: AsyncIterable[bytes]) -> None:
        await self._put(self._blob(digest), pieces, size)

    def get_blob(self, digest: Digest) -> AsyncIterator[bytes]:
        """Its bytes, not verified. Raises BackupMissing, BackupInvalid."""
        return self._get(self._blob(digest))

    async def put_rows(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        await self._put(f"{_SNAPSHOTS}/{name}.rows", pieces, size)

    def get_rows(self, snapshot: Snapshot) -> AsyncIterator[bytes]:
        return self._get(f"{_SNAPSHOTS}/{snapshot.name}.rows")

    async def put_snapshot(self, snapshot: Snapshot) -> None:
        """From now on the run counts."""
        raw = msgspec.json.encode(snapshot)
        await self._put(f"{_SNAPSHOTS}/{snapshot.name}.json", _once(raw), len(raw))

    async def snapshots(self) -> list[Snapshot]:
        """All finished runs, oldest first."""
        names = [name for name in await self._place.names(_SNAPSHOTS) if name.endswith(".json")]
        return sorted([await self._snapshot(name) for name in names])

    async def find(self, at: str | None) -> Snapshot:
        """The last run at or before `at` (any beginning of a time such as `20250131`), or the last of all.

        Raises BackupMissing.
        """
        known = await self.snapshots()
        fitting = [one for one in known if at is None or one.name[: len(at)] <= at]
        if not fitting:
            there = ", ".join(one.name for one in known) or "none"
            raise BackupMissing(f"there is no backup of {at or 'any time'}", hint=f"there are: {there}")
        return fitting[-1]

    async def put_secret(self, data: bytes) -> None:
        """Keep the registry's own key file too; only where it is encrypted."""
        if self._key is not None and await self._place.size(_SEAL_FILE) is None:
            await self._put(_SEAL_FILE, _once(data), len(data))

    async def secret(self) -> bytes | None:
        """The registry's key file, None when it is not kept here."""
        if self._key is None or await self._place.size(_SEAL_FILE) is None:
            return None
        return await _all(self._get(_SEAL_FILE))

    async def close(self, *, complete: bool = True) -> None:
        await self._place.close(complete=complete)

    async def _snapshot(self, name: str) -> Snapshot:
        return msgspec.json.decode(await _all(self._get(name)), type=Snapshot)

    def _blob(self, digest: Digest) -> str:
        if self._key is not None:
            hidden = self._key.hide(str(digest))
            return f"blobs/{hidden[:2]}/{hidden}"
        return f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    def _kept(self, size: int) -> int:
        return size if self._key is None else self._key.sealed_size(size)

    async def _put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> None:
        kept = pieces if self._key is None else self._key.seal(name, pieces)
        await self._place.put(name, kept, self._kept(size))

    def _get(self, name: str) -> AsyncIterator[bytes]:
        kept = self._place.get(name)
        return kept if self._key is None else self._key.open(name, kept)


async def _all(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


def snapshot_json(snapshot: Snapshot) -> dict[str, Any]:
    """As `--json` prints it."""
    return dict(msgspec.to_builtins(snapshot))
