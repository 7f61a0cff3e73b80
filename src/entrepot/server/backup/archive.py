"""The files of a backup, over any place, encrypted or not.

::

    entrepot-backup.json             whose backups these are, and which key opens them
    snapshots/<time>.json            one run: when, schema, how many
    snapshots/<time>.rows            its catalog: see `rows`
    snapshots/<time>.key             what is sealed in that catalog opens with it; only when encrypted
    blobs/<algorithm>/<hex>          shared by all runs; encrypted: blobs/<name that tells nothing>

A run writes its `.json` last, so a run that was interrupted is none, and what it copied serves the next one.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import msgspec

from entrepot.oci.digest import Digest, Hasher
from entrepot.server.backup.encryption import BackupKey, sealed_body
from entrepot.server.backup.errors import BackupInvalid, BackupMissing
from entrepot.server.backup.places import BackupPlace

__all__ = ["BackupArchive", "BackupSnapshot"]

FORMAT: Final = 1
_HEAD: Final = "entrepot-backup.json"
_SNAPSHOTS: Final = "snapshots"
_BLOBS: Final = "blobs"
_TIME: Final = re.compile(r"\d{4,8}(T\d{0,6}(\.\d{1,6})?)?Z?")


class _Head(msgspec.Struct):
    """`entrepot-backup.json`."""

    format: int
    store_id: str
    key: str
    """Fingerprint of the key; empty when nothing is encrypted."""


@dataclass(frozen=True, slots=True, order=True)
class BackupSnapshot:
    """One run of `backup`."""

    name: str
    """Its time, as `20250131T235959.123456Z`; sorts by time."""
    store_id: str
    epoch: int
    schema: str
    blobs: int
    bytes: int
    rows: int
    rows_digest: str
    secret_digest: str = ""
    """Of the registry's key file; empty when it is not kept."""
    damaged: tuple[str, ...] = ()
    """Digests whose bytes could not be backed up."""


class BackupArchive:
    """Snapshots and blobs by name. Made by `Archive.open`."""

    def __init__(self, place: BackupPlace, key: BackupKey | None) -> None:
        self._place = place
        self._key = key
        self._kept: _KeptBlobs | None = None
        self._looking = asyncio.Lock()

    @classmethod
    async def open(
        cls, place: BackupPlace, key: BackupKey | None, *, store_id: str | None = None
    ) -> BackupArchive:
        """The backups in `place`; with a `store_id` they are that registry's, and begun when there are none.

        Raises BackupMissing, BackupInvalid.
        """
        try:
            head = msgspec.json.decode(await _all(place.get(_HEAD)), type=_Head)
        except BackupMissing:
            if store_id is None:
                raise BackupMissing("there is no backup of entrepot here") from None
            head = _Head(FORMAT, store_id, key.fingerprint if key is not None else "")
            raw = msgspec.json.encode(head)
            await place.put(_HEAD, _once(raw), len(raw))
        except msgspec.MsgspecError as error:
            raise BackupInvalid(f"{_HEAD} is damaged") from error
        if head.format != FORMAT:
            raise BackupInvalid("these backups were made by another version of entrepot")
        if store_id is not None and head.store_id != store_id:
            raise BackupInvalid("these backups are another registry's", hint="name another place")
        _check_key(head.key, key)
        return cls(place, key)

    async def has_blob(self, digest: Digest, size: int) -> bool:
        """Whether the whole blob is kept here, by its size. The place is listed once, at the first call."""
        async with self._looking:
            if self._kept is None:
                kept = _KeptBlobs()
                async for name, stored in self._place.listed(_BLOBS):
                    kept.add(name, stored)
                self._kept = kept
        found = self._kept.size(self.blob_name(digest))
        if found is None or self._key is None:
            return found == size
        return self._key.may_be_sealed(found, size)

    async def put_blob(self, digest: Digest, size: int, pieces: AsyncIterable[bytes]) -> None:
        name = self.blob_name(digest)
        kept = await self._put(name, pieces, size)
        if self._kept is not None:
            self._kept.add(name, kept)

    def get_blob(self, digest: Digest) -> AsyncIterator[bytes]:
        """Its bytes, not verified. Raises BackupMissing, BackupInvalid."""
        return self._get(self.blob_name(digest))

    def blob_name(self, digest: Digest) -> str:
        """The file that keeps a blob."""
        if self._key is not None:
            hidden = self._key.hide(str(digest))
            return f"{_BLOBS}/{hidden[:2]}/{hidden}"
        return f"{_BLOBS}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}"

    async def put_rows(self, name: str, pieces: AsyncIterable[bytes], size: int) -> str:
        """Keep the rows of a run; the digest goes into its snapshot."""
        hasher = Hasher("sha256")
        await self._put(f"{_SNAPSHOTS}/{name}.rows", _hashed(pieces, hasher), size)
        return str(hasher.digest())

    def get_rows(self, snapshot: BackupSnapshot) -> AsyncIterator[bytes]:
        """Raises BackupMissing, and BackupInvalid at the end when they are not what that run wrote."""
        name = f"{_SNAPSHOTS}/{snapshot.name}.rows"
        broken = f"the rows of the catalog are damaged, or another backup's ({name})"
        return _verified(self._get(name), snapshot.rows_digest, broken)

    async def put_secret(self, name: str, data: bytes) -> str:
        """Keep the registry's own key file beside a run, if it is encrypted: its digest, or nothing."""
        if self._key is None:
            return ""
        await self._put(f"{_SNAPSHOTS}/{name}.key", _once(data), len(data))
        return str(Digest.of(data))

    async def secret(self, snapshot: BackupSnapshot) -> bytes | None:
        """The registry's key file at that time, None when it is not kept here. Raises BackupInvalid."""
        if not snapshot.secret_digest:
            return None
        name = f"{_SNAPSHOTS}/{snapshot.name}.key"
        try:
            broken = f"the registry's key file is damaged, or another backup's ({name})"
            return await _all(_verified(self._get(name), snapshot.secret_digest, broken))
        except BackupMissing:
            return None

    async def put_snapshot(self, snapshot: BackupSnapshot) -> None:
        """From now on the run counts."""
        raw = msgspec.json.encode(snapshot)
        await self._put(f"{_SNAPSHOTS}/{snapshot.name}.json", _once(raw), len(raw))

    async def names(self) -> list[str]:
        """Names of all finished runs, oldest first."""
        listed = [name async for name, _ in self._place.listed(_SNAPSHOTS)]
        files = [name for name in listed if name.endswith(".json")]
        return sorted(name.removeprefix(f"{_SNAPSHOTS}/").removesuffix(".json") for name in files)

    async def snapshots(self) -> list[BackupSnapshot]:
        """All finished runs, oldest first."""
        return [await self.snapshot(name) for name in await self.names()]

    async def snapshot(self, name: str) -> BackupSnapshot:
        """Raises BackupMissing, BackupInvalid."""
        raw = await _all(self._get(f"{_SNAPSHOTS}/{name}.json"))
        try:
            found = msgspec.json.decode(raw, type=BackupSnapshot)
        except msgspec.MsgspecError as error:
            raise BackupInvalid(f"{_SNAPSHOTS}/{name}.json is damaged") from error
        if found.name != name:
            raise BackupInvalid(f"{_SNAPSHOTS}/{name}.json is another backup's ({found.name})")
        return found

    async def find(self, at: str | None) -> BackupSnapshot:
        """The last run at or before `at`, or the last of all.

        `at` is a UTC time or its beginning: `2025-01-31`, `20250131T235959`. Raises BackupMissing,
        BackupInvalid.
        """
        known = await self.names()
        wanted = None if at is None else _plain_time(at)
        fitting = [name for name in known if wanted is None or name[: len(wanted)] <= wanted]
        if not fitting:
            there = ", ".join(known[-10:]) or "none"
            raise BackupMissing(f"there is no backup of {at or 'any time'}", hint=f"there are: {there}")
        return await self.snapshot(fitting[-1])

    async def close(self, *, complete: bool = True) -> None:
        if self._kept is not None:
            self._kept.close()
        await self._place.close(complete=complete)

    async def _put(self, name: str, pieces: AsyncIterable[bytes], size: int) -> int:
        """Keep `size` bytes; returns how many they are there."""
        if self._key is None:
            await self._place.put(name, pieces, size)
            return size
        async with aclosing(self._key.seal(pieces)) as sealed:
            # A tar says a file's length before its bytes, and only the header's is not known.
            head = await anext(sealed)
            kept = len(head) + sealed_body(size)
            await self._place.put(name, _after(head, sealed), kept)
        return kept

    def _get(self, name: str) -> AsyncIterator[bytes]:
        kept = self._place.get(name)
        return kept if self._key is None else self._key.open(name, kept)


class _KeptBlobs:
    """Name → size, in a temporary file: there may be millions."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, size INTEGER) WITHOUT ROWID")

    def add(self, name: str, size: int) -> None:
        self._file.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, size))

    def size(self, name: str) -> int | None:
        found = self._file.execute("SELECT size FROM kept WHERE name = ?", (name,)).fetchone()
        return None if found is None else int(found[0])

    def close(self) -> None:
        self._file.close()


def _check_key(fingerprint: str, key: BackupKey | None) -> None:
    if fingerprint and key is None:
        raise BackupInvalid("these backups are encrypted", hint="give the key file with --key")
    if not fingerprint and key is not None:
        raise BackupInvalid("these backups are not encrypted", hint="name another place, or leave out --key")
    if key is not None and key.fingerprint != fingerprint:
        raise BackupInvalid(
            "these backups are encrypted with another key", hint="give the key file they were begun with"
        )


def _plain_time(at: str) -> str:
    """As snapshots are named. Raises BackupInvalid."""
    plain = at.strip().upper().replace("-", "").replace(":", "").replace(" ", "T")
    if not _TIME.fullmatch(plain):
        raise BackupInvalid(f"{at!r} is no time", hint="write it as 2025-01-31T23:59, in UTC")
    return plain.removesuffix("Z")


async def _all(pieces: AsyncIterator[bytes]) -> bytes:
    return b"".join([piece async for piece in pieces])


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _after(first: bytes, rest: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece


async def _hashed(pieces: AsyncIterable[bytes], hasher: Hasher) -> AsyncIterator[bytes]:
    async for piece in pieces:
        hasher.update(piece)
        yield piece


async def _verified(pieces: AsyncIterable[bytes], digest: str, broken: str) -> AsyncIterator[bytes]:
    """Raises BackupInvalid with the sentence `broken`, after the last piece."""
    hasher = Hasher("sha256")
    async for piece in _hashed(pieces, hasher):
        yield piece
    if str(hasher.digest()) != digest:
        raise BackupInvalid(broken, hint="take an earlier backup: --list shows them, --at picks one")
