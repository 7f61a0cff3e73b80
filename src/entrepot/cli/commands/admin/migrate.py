"""`entrepot admin migrate`: the catalog's schema as this version needs it, or the registry elsewhere."""

from __future__ import annotations

from typing import Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.commands.admin.places import say
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import human_size, write
from entrepot.wording import plural


@click.command(short_help="Bring the schema up to date, or move the registry")
@click.option("--to", "target", metavar="FILE", help="Move everything to the place that these settings name.")
@click.option("--deep", is_flag=True, help="Read every copied byte back from the new place.")
@click.option("--no-wait", is_flag=True, help="The old servers are stopped; do not wait for them.")
@click.pass_context
def migrate(ctx: click.Context, target: str | None, deep: bool, no_wait: bool) -> None:
    """Bring the catalog's schema up to date. `serve` does it by itself.

    With --to: move the registry of this command's --config or --data to another catalog, another store, or
    both. It is readable throughout, takes pushes until the last step, and an interrupted run goes on.
    Nothing in the old place is deleted. FILE is the new servers' settings file; variables don't change it.
    """
    if target is None:
        _schema()
        return
    import asyncio

    report = asyncio.run(_move(target, deep, no_wait))
    for digest in report.damaged:
        write(f"damaged before, push it again: {digest}")
    for finding in report.check.findings:
        write(f"{finding.kind}: {finding.subject}: {finding.detail}")
    write(f"moved {plural(report.rows, 'row')}, {plural(report.blobs, 'blob')}, {human_size(report.bytes)}")
    ctx.exit(OK if report.check.is_clean and not report.damaged else FAILED)


def _schema() -> None:
    from entrepot.server.compose import catalog_schema, prepare_now
    from entrepot.server.process.data_directory import left_to_its_owner, make_data_directory

    config = admin_config()
    make_data_directory(config.server.data)
    with left_to_its_owner(config.server.data):
        prepare_now(config)
    write(f"the catalog has schema {catalog_schema(config)}")


async def _move(target: str, deep: bool, no_wait: bool) -> Any:
    from entrepot.server.compose import opened_ground
    from entrepot.server.config import load
    from entrepot.server.control.moves import move
    from entrepot.server.process.data_directory import left_to_its_owner, make_data_directory

    old, new = admin_config(), load(target, env={})
    async with opened_ground(old) as here:
        make_data_directory(new.server.data)
        with left_to_its_owner(new.server.data):
            async with opened_ground(new, make=True) as there:
                return await move(here, there, deep=deep, wait=not no_wait, say=say)
