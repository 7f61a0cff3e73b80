"""`entrepot admin backup`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config, as_operator
from entrepot.cli.commands.admin.places import key_option, say, where_argument
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import human_size, table, write
from entrepot.wording import plural


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
    from entrepot.server.control.backups import back_up, make_key

    if listing or check:
        ctx.exit(_look(where, key, check, as_json))
    if new_key is not None and key is not None:
        raise click.UsageError("--key and --new-key can't be used together")
    if new_key is not None:
        try:
            make_key(Path(new_key))
        except FileExistsError:
            raise click.UsageError(f"{new_key} is there already; use it with --key") from None
    used = _path(new_key or key)
    done = as_operator(
        lambda services, actor: back_up(services, actor, where=where, key=used, say=say), with_accounts=False
    )
    snapshot = done.snapshot
    if as_json:
        write(json.dumps({**_row(snapshot), "copied": done.copied, "copied_bytes": done.copied_bytes}))
    else:
        for digest in snapshot.damaged:
            write(f"can't be read, push it again: {digest}")
        write(
            f"{snapshot.name}: {plural(snapshot.rows, 'row')}, {plural(snapshot.blobs, 'blob')}"
            f" ({human_size(snapshot.bytes)}),"
            f" {done.copied} of them copied now ({human_size(done.copied_bytes)})"
        )
    ctx.exit(FAILED if snapshot.damaged else OK)


def _path(name: str | None) -> Path | None:
    return None if name is None else Path(name)


def _look(where: str, key: str | None, check: bool, as_json: bool) -> int:
    import asyncio

    from entrepot.server.control.backups import list_backups

    known, found = asyncio.run(list_backups(admin_config(), where=where, key=_path(key), check=check))
    bad = [{"digest": digest, "file": file} for digest, file in found]
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
