"""Backups and what else takes a registry as a whole: exported, brought back, found again in its blobs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.backup import backup, encryption
from entrepot.server.backup import export as layouts
from entrepot.server.backup.archive import BackupArchive, BackupSnapshot
from entrepot.server.backup.backup import BackedUp, Restored
from entrepot.server.backup.encryption import BackupKey
from entrepot.server.backup.errors import TargetInUse
from entrepot.server.backup.export import Exported
from entrepot.server.backup.from_copy import RestoredCopy, restore_copy
from entrepot.server.backup.litestream import CatalogCopy
from entrepot.server.backup.places import BackupPlace, open_place
from entrepot.server.backup.rebuild import Rebuilt
from entrepot.server.backup.rebuild import rebuild as rebuild_catalog
from entrepot.server.config.model import Config
from entrepot.server.control.ground import Ground, OpenGround
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import require
from entrepot.server.storage.store import BlobStore

__all__ = [
    "BadBlob",
    "Exported",
    "RestoredCopy",
    "back_up",
    "export",
    "list_backups",
    "make_key",
    "rebuild",
    "restore",
    "restore_from_copy",
]

Say = Callable[[str], None]
"""Told of progress, a line each."""
BadBlob = tuple[str, str]
"""Digest and file of a blob that can't be restored from a backup."""


async def back_up(services: Services, actor: Actor, *, where: str, key: Path | None, say: Say) -> BackedUp:
    """One more snapshot at `where`. Pushes and pulls go on.

    Raises BackupInvalid, PlaceFailed; interrupted, it leaves blobs that the next run does not copy again.
    """
    # All of it, accounts and what is sealed included: more than reading the registry.
    await require(services, actor, Action.MANAGE_SYSTEM)
    store_id = await backup.store_identity_of(services.catalog)
    seal = services.seal_file
    secret = seal.read_bytes() if seal.exists() else None
    if secret is not None and key is None:
        say(f"{seal} is not in a backup that is not encrypted; keep a copy of it elsewhere")
    async with _opened(where, services.config, key, store_id=store_id) as archive:
        return await backup.back_up(services.catalog, services.store, archive, secret=secret, say=say)


async def list_backups(
    config: Config, *, where: str, key: Path | None, check: bool = False
) -> tuple[list[BackupSnapshot], list[BadBlob]]:
    """Oldest first; with `check` everything of the last one is read. No registry is needed: a bucket is
    reached as `[storage]` says. Raises BackupMissing, BackupInvalid, PlaceFailed.
    """
    async with _opened(where, config, key) as archive:
        known = await archive.snapshots()
        bad = await backup.check_backup(archive, await archive.find(None)) if check else []
        return known, [(str(digest), archive.blob_name(digest)) for digest in sorted(bad)]


async def restore(
    config: Config,
    open_ground: OpenGround,
    *,
    seal_file: Path,
    where: str,
    key: Path | None,
    at: str | None = None,
    overwrite: bool = False,
    say: Say,
) -> Restored:
    """Bring catalog and blobs back to a place that nothing runs on. `open_ground` is called, and may make
    the catalog, when the backup is found.

    Raises BackupMissing, BackupInvalid, PlaceFailed; TargetInUse, and then nothing was replaced.
    """
    async with _opened(where, config, key) as archive:
        snapshot = await archive.find(at)
        say(f"restoring {snapshot.name}")
        _put_secret(seal_file, await archive.secret(snapshot), say)
        async with open_ground() as ground:
            await ground.store.prepare()
            notes = config.server.data / "restore.db"
            return await backup.restore(
                archive, snapshot, ground.catalog, ground.store, notes, overwrite=overwrite, say=say
            )


async def restore_from_copy(
    config: Config,
    database: Path,
    store: BlobStore,
    *,
    seal_file: Path,
    place: str,
    at: str | None = None,
    overwrite: bool = False,
    say: Say,
) -> RestoredCopy:
    """Bring the catalog back as of a second, from its continuous copy. No server may run on it.

    Raises CopyFailed, NotFound, InvalidInput, StorageFailed, SchemaMismatch; TargetInUse, and then nothing
    was replaced.
    """
    copy = CatalogCopy.of(config, place)
    done = await restore_copy(copy, database, store, at=at, overwrite=overwrite, say=say)
    _put_secret(seal_file, None, say)
    return done


async def export(
    services: Services, actor: Actor, *, folder: Path, repositories: str = "*", as_oci: bool = False, say: Say
) -> Exported:
    """Each repository that fits the pattern as an OCI image layout below `folder`. A later run adds what is
    new.
    """
    await require(services, actor, Action.MANAGE_SYSTEM)
    return await layouts.export(
        services.catalog, services.store, folder, pattern=repositories, convert=as_oci, say=say
    )


async def rebuild(ground: Ground, *, say: Say) -> Rebuilt:
    """Images out of blobs, for an empty catalog; nothing is removed. Raises TargetInUse."""
    return await rebuild_catalog(ground.catalog, ground.store, say=say)


def make_key(path: Path) -> None:
    """A new key file that backups are encrypted with. Raises FileExistsError."""
    encryption.make_key_file(path)


@asynccontextmanager
async def _opened(
    where: str, config: Config, key: Path | None, *, store_id: str | None = None
) -> AsyncIterator[BackupArchive]:
    """The backups at `where`, made with `store_id` when there are none."""
    opened_key = None if key is None else BackupKey.load(key)
    storage = config.storage
    place = open_place(
        where,
        create=store_id is not None,
        endpoint=storage.endpoint,
        region=storage.region,
        access_key_id=storage.access_key_id,
        secret_access_key=str(storage.secret_access_key),
        allow_http=storage.allow_http,
    )
    closing: BackupArchive | BackupPlace = place
    complete = False
    try:
        closing = archive = await BackupArchive.open(place, opened_key, store_id=store_id)
        yield archive
        complete = True
    finally:
        await closing.close(complete=complete)


def _put_secret(path: Path, data: bytes | None, say: Say) -> None:
    """The key that opens what is sealed in the catalog, where the server looks for it."""
    if data is None:
        if not path.exists():
            say(f"if the registry has accounts, put the copy of its access.key at {path} before you start it")
        return
    if path.exists():
        if path.read_bytes() != data:
            raise TargetInUse(
                f"{path} is another registry's key", hint="move it away: the backup has the right one"
            )
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_secret(path, data)


def write_secret(path: Path, data: bytes) -> None:
    """A new file that only its owner reads. Raises FileExistsError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
