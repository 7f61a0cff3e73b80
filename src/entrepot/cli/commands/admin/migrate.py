"""`entrepot admin migrate`: the catalog's schema as this version needs it, or the registry elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import human_size, write


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
    write(f"moved {report.rows} rows, {report.blobs} blobs, {human_size(report.bytes)}")
    ctx.exit(OK if report.check.is_clean and not report.damaged else FAILED)


def _schema() -> None:
    from entrepot.server.compose import catalog_url, prepare_now
    from entrepot.server.db.migrate import schema_version
    from entrepot.server.process.supervisor import make_data_directory

    config = admin_config()
    make_data_directory(config.server.data)
    prepare_now(config)
    write(f"the catalog has schema {schema_version(catalog_url(config))}")


async def _move(target: str, deep: bool, no_wait: bool) -> Any:
    import asyncio
    from contextlib import AsyncExitStack

    from entrepot.errors import InvalidInput
    from entrepot.server.backup.migrate import Side, migrate
    from entrepot.server.compose import access_settings, catalog_url, open_store, require_catalog
    from entrepot.server.config import load
    from entrepot.server.db import check_schema, open_catalog, upgrade
    from entrepot.server.process.supervisor import make_data_directory

    old, new = admin_config(), load(target, env={})
    if catalog_url(old) == catalog_url(new):
        raise InvalidInput(
            "both places have the same catalog",
            hint="name another server.data or catalog.url in the new settings",
        )
    require_catalog(old)
    await asyncio.to_thread(check_schema, catalog_url(old))
    make_data_directory(new.server.data)
    await asyncio.to_thread(upgrade, catalog_url(new))
    _copy_secret(access_settings(old).seal_file, access_settings(new).seal_file)
    async with AsyncExitStack() as until_end:
        sides = []
        for config in (old, new):
            catalog, store = open_catalog(catalog_url(config)), open_store(config)
            until_end.push_async_callback(catalog.close)
            until_end.push_async_callback(store.close)
            sides.append(Side(catalog_url(config), catalog, store))

        async def stopped() -> bool:
            return no_wait or await _is_stopped(old, sides[0].catalog)

        return await migrate(
            sides[0],
            sides[1],
            new.server.data / "migration.db",
            same_store=_store_name(old) == _store_name(new),
            one_directory=old.server.data.resolve() == new.server.data.resolve(),
            servers_stopped=stopped,
            deep=deep,
            say=lambda line: click.echo(line, err=True),
        )


def _store_name(config: Any) -> tuple[str, str]:
    storage = config.storage
    return (
        (storage.url.rstrip("/"), storage.endpoint)
        if storage.url
        else (str(config.server.data.resolve()), "")
    )


def _copy_secret(source: Path, target: Path) -> None:
    """The file that opens what is sealed in the catalog goes with it."""
    import os

    if not source.exists() or target.exists():
        return
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(source.read_bytes())


async def _is_stopped(config: Any, catalog: Any) -> bool:
    """Whether nothing works on the old place any more, servers and workers."""
    import fcntl

    from entrepot.server.upkeep.nodes import list_nodes

    lock = config.server.data / "serve.lock"
    if lock.exists():
        with lock.open("rb") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    alive = {
        node.role for node in await catalog.read(list_nodes, catalog.clock.steady()) if node.state == "alive"
    }
    # On SQLite the lock above speaks for `serve`; its row outlives it for a while when it was killed.
    return not (alive & {"worker"} if catalog.dialect == "sqlite" else alive)
