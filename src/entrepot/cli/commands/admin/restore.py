"""`entrepot admin restore`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.commands.admin.places import key_option, say
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import write
from entrepot.wording import plural

if TYPE_CHECKING:
    from entrepot.server.control.backups import RestoredCopy


@click.command("restore", short_help="Bring a registry back from a backup")
@click.argument("where", required=False, metavar="FOLDER|FILE.tar|s3://BUCKET/PREFIX")
@key_option
@click.option("--from-copy", metavar="URL", help="Only the catalog, from its continuous copy (catalog.copy).")
@click.option(
    "--at",
    metavar="TIME",
    help="The last backup at or before it, as `20250131T2359`; with --from-copy `2025-01-31T23:59:00Z`.",
)
@click.option("--overwrite", is_flag=True, help="Replace a catalog that is not empty; what it has is lost.")
@click.pass_context
def restore(
    ctx: click.Context,
    where: str | None,
    key: str | None,
    from_copy: str | None,
    at: str | None,
    overwrite: bool,
) -> None:
    """Bring catalog and blobs back to the place that this command's settings name.

    It may be another one than before: an empty database and store of any kind. Ids are kept, so tokens,
    grants and history are what they were. Every blob is read back at the end. No server may run on it.
    """
    import asyncio

    if (where is None) == (from_copy is None) or (from_copy is not None and key is not None):
        raise click.UsageError("name a backup, or a catalog's copy with --from-copy (then without --key)")
    if where is None:
        ctx.exit(_print_copy(asyncio.run(_restore_copy(from_copy or "", at, overwrite))))
    done = asyncio.run(_restore(where, key, at, overwrite))
    for digest in done.damaged:
        write(f"not in the backup, push it again: {digest}")
    for finding in done.check.findings:
        write(f"{finding.kind}: {finding.subject}: {finding.detail}")
    write(
        f"restored {done.snapshot.name}: {plural(done.rows, 'row')},"
        f" {plural(done.copied, 'blob')} copied, {done.kept} there;"
        f" all {done.check.blobs} read back; epoch {done.epoch}"
    )
    ctx.exit(OK if done.check.is_clean and not done.damaged else FAILED)


def _print_copy(done: RestoredCopy) -> int:
    for one in done.absent:
        needed = f" ({', '.join(one.tags)})" if one.tags else ""
        write(f"absent, push it again: {one.digest}{needed}")
    write(
        f"restored {plural(done.repositories, 'repository', 'repositories')}, {plural(done.tags, 'tag')};"
        f" {done.blobs - len(done.absent)} of {plural(done.blobs, 'blob')} are there; epoch {done.epoch}"
    )
    return FAILED if done.absent else OK


async def _restore_copy(place: str, at: str | None, overwrite: bool) -> RestoredCopy:
    from entrepot.server.compose import access_settings, catalog_file, open_store
    from entrepot.server.control.backups import restore_from_copy
    from entrepot.server.process.data_directory import hold_data_directory, make_data_directory

    config = admin_config()
    database = catalog_file(config)
    make_data_directory(config.server.data)
    lock = hold_data_directory(config.server.data)
    store = open_store(config)
    try:
        return await restore_from_copy(
            config,
            database,
            store,
            seal_file=access_settings(config).seal_file,
            place=place,
            at=at,
            overwrite=overwrite,
            say=say,
        )
    finally:
        await store.close()
        os.close(lock)


async def _restore(where: str, key: str | None, at: str | None, overwrite: bool) -> Any:
    from entrepot.server.compose import access_settings, opened_ground
    from entrepot.server.control.backups import restore
    from entrepot.server.process.data_directory import (
        hold_data_directory,
        left_to_its_owner,
        make_data_directory,
    )

    config = admin_config()
    make_data_directory(config.server.data)
    lock = hold_data_directory(config.server.data)
    try:
        with left_to_its_owner(config.server.data):
            return await restore(
                config,
                lambda: opened_ground(config, make=True),
                seal_file=access_settings(config).seal_file,
                where=where,
                key=None if key is None else Path(key),
                at=at,
                overwrite=overwrite,
                say=say,
            )
    finally:
        os.close(lock)
