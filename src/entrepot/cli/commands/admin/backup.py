"""`entrepot admin backup`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config, with_services
from entrepot.cli.commands.admin.places import key_option, opened_archive, say, where_argument
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import human_size, table, write


@click.command("backup", short_help="Back the registry up while it runs")
@where_argument
@key_option
@click.option("--new-key", metavar="FILE", help="Make a key file, and encrypt with it. Keep it elsewhere.")
@click.option("--list", "listing", is_flag=True, help="Back nothing up; list what is there.")
@click.option("--check", is_flag=True, help="Back nothing up; read everything of the last backup.")
@click.option("--json", "as_json", is_flag=True, help="JSON.")
@click.pass_context
def backup(
    ctx: click.Context,
    where: str,
    key: str | None,
    new_key: str | None,
    listing: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Back everything up: catalog, accounts, history, blobs. Pushes and pulls go on.

    Only blobs that are not there yet are copied, so run it often. A file that ends in .tar is one whole
    backup. Exit code 1 when something could not be read.
    """
    if listing or check:
        ctx.exit(_look(where, key, check, as_json))
    if new_key is not None and key is not None:
        raise click.UsageError("--key and --new-key can't be used together")
    if new_key is not None:
        from entrepot.server.backup.encryption import make_key_file

        try:
            make_key_file(Path(new_key))
        except FileExistsError:
            raise click.UsageError(f"{new_key} is there already; use it with --key") from None
    done = with_services(lambda services: _back_up(services, where, new_key or key))
    snapshot = done.snapshot
    if as_json:
        write(json.dumps({**_row(snapshot), "copied": done.copied, "copied_bytes": done.copied_bytes}))
    else:
        for digest in snapshot.damaged:
            write(f"can't be read, push it again: {digest}")
        write(
            f"{snapshot.name}: {snapshot.rows} rows, {snapshot.blobs} blobs ({human_size(snapshot.bytes)}),"
            f" {done.copied} of them copied now ({human_size(done.copied_bytes)})"
        )
    ctx.exit(FAILED if snapshot.damaged else OK)


async def _back_up(services: Any, where: str, key: str | None) -> Any:
    from entrepot.server.backup.backup import back_up, store_identity_of
    from entrepot.server.compose import access_settings

    store_id = await store_identity_of(services.catalog)
    seal = access_settings(services.config).seal_file
    secret = seal.read_bytes() if seal.exists() else None
    if secret is not None and key is None:
        say(f"{seal} is not in a backup that is not encrypted; keep a copy of it elsewhere")
    async with opened_archive(where, services.config, key, store_id=store_id) as archive:
        return await back_up(services.catalog, services.store, archive, secret=secret, say=say)


def _look(where: str, key: str | None, check: bool, as_json: bool) -> int:
    import asyncio

    async def look() -> tuple[list[Any], list[dict[str, str]]]:
        from entrepot.server.backup.backup import check_backup

        async with opened_archive(where, admin_config(), key) as archive:
            known = await archive.snapshots()
            bad = await check_backup(archive, await archive.find(None)) if check else []
            return known, [
                {"digest": str(digest), "file": archive.blob_name(digest)} for digest in sorted(bad)
            ]

    known, bad = asyncio.run(look())
    if as_json:
        write(json.dumps({"backups": [_row(one) for one in known], "bad": bad}))
    else:
        rows = [[one.name, str(one.rows), str(one.blobs), human_size(one.bytes)] for one in known]
        write(table(["BACKUP", "ROWS", "BLOBS", "SIZE"], rows).rstrip("\n"))
        for one in bad:
            write(f"can't be restored from here: {one['digest']} ({one['file']})")
        if bad:
            write("remove these files; the next backup copies them again")
        if check and not bad:
            write(f"{known[-1].name}: everything was read, and is as it should be")
    return FAILED if bad else OK


def _row(snapshot: Any) -> dict[str, Any]:
    return {
        "name": snapshot.name,
        "rows": snapshot.rows,
        "blobs": snapshot.blobs,
        "bytes": snapshot.bytes,
        "damaged": list(snapshot.damaged),
    }
