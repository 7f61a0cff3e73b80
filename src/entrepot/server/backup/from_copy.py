"""A catalog brought back from its continuous copy, beside the blobs that are still in their store.

The copy is restored beside the place it is for, bound to the store in a new epoch, and takes its name last.
Killed at any moment, it is run again: no catalog is there then, or one that its store refuses. At the end
every blob is looked for, and what is absent is taken out of service by name.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, func, select

from entrepot.errors import InvalidInput
from entrepot.files import fsync_directory
from entrepot.server.backup.blob_copy import at_once
from entrepot.server.backup.errors import TargetInUse
from entrepot.server.backup.litestream import STATE_FOLDER, CatalogCopy, CopyFailed
from entrepot.server.db import open_catalog, upgrade
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.settings import CatalogIdentity, get_identity, set_identity
from entrepot.server.db.tables import blob, repo, tag
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.faults import find_fault
from entrepot.server.upkeep.integrity.lost_blobs import Damage, take_out_of_service

__all__ = ["RestoredCopy", "parse_time", "restore_copy"]

PAGE: Final = 500
SIDE_FILES: Final = ("-wal", "-shm", ".damaged", ".copied")
"""What speaks of the database that was there before."""
_TABLES: Final = ("_litestream_seq", "_litestream_lock")


@dataclass(slots=True)
class RestoredCopy:
    """What came back."""

    epoch: int
    repositories: int
    tags: int
    blobs: int = 0
    absent: list[Damage] = field(default_factory=list)
    """Blobs that the catalog has and the store does not, with the tags that need them."""


async def restore_copy(
    copy: CatalogCopy,
    database: Path,
    store: BlobStore,
    *,
    at: str | None,
    overwrite: bool,
    say: Callable[[str], None] = lambda _: None,
) -> RestoredCopy:
    """Put the catalog as of `at` to where it belongs. No server may run.

    Raises CopyFailed, NotFound, SchemaMismatch, StorageFailed; TargetInUse when a catalog is there that is
    not to be replaced, or the store is another registry's. Nothing was replaced then.
    """
    if not overwrite and await asyncio.to_thread(database.exists):
        raise TargetInUse(
            f"there is a catalog at {database}",
            hint="move it away, or give --overwrite: what it has is lost then",
        )
    scratch = database.with_name(f".{database.name}.restoring")
    await asyncio.to_thread(_make_anew, scratch)
    found = scratch / database.name
    say(f"reading {copy.place}")
    await asyncio.to_thread(copy.restore, found, None if at is None else parse_time(at), scratch)
    await asyncio.to_thread(_forget_copying, found)
    await asyncio.to_thread(upgrade, _url(found))
    report = await _bind(found, store)
    await asyncio.to_thread(_put_in_place, found, database, scratch)
    say("looking for every blob")
    catalog = open_catalog(_url(database))
    try:
        await at_once(_live(catalog), partial(_look, catalog, store, report))
    finally:
        await catalog.close()
    report.absent.sort(key=lambda one: one.digest)
    return report


def parse_time(text: str) -> str:
    """A time as Litestream reads it; without a zone it is UTC. Raises InvalidInput."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"{text} is no time", hint="write it as 2025-01-31T23:59:00Z") from None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return moment.isoformat().replace("+00:00", "Z")


async def _bind(found: Path, store: BlobStore) -> RestoredCopy:
    """Catalog and store in a new epoch, so that what turns up of the old one is refused."""
    catalog = open_catalog(_url(found))
    try:
        known = await catalog.read(get_identity)
        if known is None:
            raise CopyFailed("the copy is of a catalog that was never used")
        marked = await store.read_identity()
        if marked is not None and marked.store_id != known.store_id:
            raise TargetInUse("the store is another registry's", hint="is storage.url right?")
        epoch = max(known.epoch, marked.epoch if marked is not None else 0) + 1
        await catalog.write(set_identity, known.store_id, epoch)
        report = await catalog.read(_count, CatalogIdentity(known.store_id, epoch))
    finally:
        await catalog.close()
    await store.prepare()
    await store.write_identity(known.store_id, epoch)
    return report


def _count(connection: Connection, identity: CatalogIdentity) -> RestoredCopy:
    live = repo.c.deleted_at.is_(None)
    return RestoredCopy(
        epoch=identity.epoch,
        repositories=connection.execute(select(func.count()).select_from(repo).where(live)).scalar_one(),
        tags=connection.execute(select(func.count()).select_from(tag)).scalar_one(),
    )


async def _live(catalog: Catalog) -> AsyncIterator[Any]:
    after = ""
    while page := await catalog.read(_page, after):
        for row in page:
            yield row
        after = page[-1].digest


def _page(connection: Connection, after: str) -> list[Any]:
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .where(blob.c.digest > after, blob.c.state == "live")
        .order_by(blob.c.digest)
        .limit(PAGE)
    )
    return list(rows)


async def _look(catalog: Catalog, store: BlobStore, report: RestoredCopy, one: Any) -> None:
    report.blobs += 1
    fault = await find_fault(store, one.digest, one.phys, one.size, deep=False)
    if fault is not None:
        damage = await take_out_of_service(catalog, one.digest, one.phys, fault)
        if damage is not None:
            report.absent.append(damage)


def _make_anew(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700, parents=True)


def _forget_copying(path: Path) -> None:
    """Litestream's own tables go; it makes them again where it copies."""
    path.chmod(0o600)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        sound = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if sound != "ok":
            raise CopyFailed(f"the copy is damaged: {sound}")
        for table in _TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {table}")


def _put_in_place(found: Path, database: Path, scratch: Path) -> None:
    for suffix in SIDE_FILES:
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    state = database.with_name(STATE_FOLDER.format(database.name))
    if state.exists():
        shutil.rmtree(state)
    found.replace(database)
    fsync_directory(database.parent)
    shutil.rmtree(scratch)


def _url(path: Path) -> str:
    return f"sqlite:///{path}"
