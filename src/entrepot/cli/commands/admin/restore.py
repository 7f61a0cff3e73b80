"""`entrepot admin restore`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.commands.admin.places import key_option, opened_archive, say, where_argument
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import write


@click.command("restore", short_help="Bring a registry back from a backup")
@where_argument
@key_option
@click.option("--at", metavar="TIME", help="The last backup at or before it, as `20250131T2359`.")
@click.option("--overwrite", is_flag=True, help="Replace a catalog that is not empty; what it has is lost.")
@click.pass_context
def restore(ctx: click.Context, where: str, key: str | None, at: str | None, overwrite: bool) -> None:
    """Bring catalog and blobs back to the place that this command's settings name.

    It may be another one than before: an empty database and store of any kind. Ids are kept, so tokens,
    grants and history are what they were. Every blob is read back at the end. No server may run on it.
    """
    import asyncio

    done = asyncio.run(_restore(where, key, at, overwrite))
    for digest in done.damaged:
        write(f"not in the backup, push it again: {digest}")
    for finding in done.check.findings:
        write(f"{finding.kind}: {finding.subject}: {finding.detail}")
    write(
        f"restored {done.snapshot.name}: {done.rows} rows, {done.copied} blobs copied, {done.kept} there;"
        f" all {done.check.blobs} read back; epoch {done.epoch}"
    )
    ctx.exit(OK if done.check.is_clean and not done.damaged else FAILED)


async def _restore(where: str, key: str | None, at: str | None, overwrite: bool) -> Any:
    import asyncio

    from entrepot.server.backup.backup import restore
    from entrepot.server.compose import access_settings, catalog_url, open_store
    from entrepot.server.db import open_catalog, upgrade
    from entrepot.server.process.supervisor import hold_data_directory, make_data_directory

    config = admin_config()
    make_data_directory(config.server.data)
    lock = hold_data_directory(config.server.data)
    try:
        async with opened_archive(where, config, key) as archive:
            snapshot = await archive.find(at)
            say(f"restoring {snapshot.name}")
            await asyncio.to_thread(upgrade, catalog_url(config))
            _put_secret(access_settings(config).seal_file, await archive.secret(snapshot))
            catalog, store = open_catalog(catalog_url(config)), open_store(config)
            try:
                await store.prepare()
                notes = config.server.data / "restore.db"
                return await restore(archive, snapshot, catalog, store, notes, overwrite=overwrite, say=say)
            finally:
                await catalog.close()
                await store.close()
    finally:
        os.close(lock)


def _put_secret(path: Path, data: bytes | None) -> None:
    """The key that opens what is sealed in the catalog, where the server looks for it."""
    from entrepot.server.backup.errors import TargetInUse

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
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
