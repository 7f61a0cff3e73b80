"""What `backup`, `restore` and others that speak of backups share."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from entrepot.server.backup.archive import Archive
    from entrepot.server.backup.places import BackupPlace
    from entrepot.server.config import Config

key_option = click.option(
    "--key", metavar="FILE", help="The key file of an encrypted backup (32 random bytes)."
)
where_argument = click.argument("where", metavar="FOLDER|FILE.tar|s3://BUCKET/PREFIX")


def say(line: str) -> None:
    """Progress, for people who look on."""
    sys.stderr.write(f"{line}\n")


@asynccontextmanager
async def opened_archive(
    where: str, config: Config, key: str | None, *, store_id: str | None = None
) -> AsyncIterator[Archive]:
    """The backups at `where`, made with `store_id` when there are none.

    A bucket is reached as `[storage]` says.
    """
    from entrepot.server.backup.archive import Archive
    from entrepot.server.backup.encryption import BackupKey
    from entrepot.server.backup.places import open_place

    opened_key = None if key is None else BackupKey.load(Path(key))
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
    closing: Archive | BackupPlace = place
    complete = False
    try:
        closing = archive = await Archive.open(place, opened_key, store_id=store_id)
        yield archive
        complete = True
    finally:
        await closing.close(complete=complete)
