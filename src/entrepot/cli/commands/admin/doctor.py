"""`entrepot admin doctor`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import write


@click.command("doctor", short_help="Check this installation, and say how to mend it")
@click.option(
    "--url",
    metavar="URL",
    help="Where clients reach it.  [default: server.public_url, else where it listens]",
)
@click.option("--ca", metavar="FILE", help="Authorities that clients trust, PEM.")
@click.option("--inside-only", is_flag=True, help="Ask nothing over HTTP.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def doctor(ctx: click.Context, url: str | None, ca: str | None, inside_only: bool, as_json: bool) -> None:
    """Look at directory, catalog, store and nodes, and ask the registry what each kind of client asks.

    It changes nothing but a probe of a few bytes in the store, removed at once. Exit code 1 when something
    does not work; warnings leave it at 0.
    """
    import asyncio

    config = admin_config()
    verdicts, listens = asyncio.run(_inside(config))
    if not inside_only:
        from entrepot.server.doctor.outside import check_wire

        verdicts += check_wire(url or _address(config, listens), cafile=ca)
    if as_json:
        write(json.dumps([verdict.to_json() for verdict in verdicts], indent=2))
    else:
        _print(verdicts)
    ctx.exit(FAILED if any(verdict.state == "fail" for verdict in verdicts) else OK)


def _print(verdicts: Sequence[Any]) -> None:
    for verdict in verdicts:
        write(f"{verdict.state:<4}  {verdict.check}: {verdict.says}")
        if verdict.mend:
            write(f"      mend: {verdict.mend}")
    counts = [
        f"{sum(verdict.state == state for verdict in verdicts)} {word}"
        for state, word in (
            ("ok", "well"),
            ("warn", "to look at"),
            ("fail", "broken"),
            ("skip", "not found out"),
        )
    ]
    write(", ".join(counts))


def _address(config: Any, listens: Sequence[str]) -> str:
    """Where this machine reaches its own registry: as the running server says, else as the settings do."""
    from entrepot.server.config.addresses import Address
    from entrepot.server.config.exposure import has_tls

    if config.server.public_url:
        return str(config.server.public_url)
    address = Address.parse((listens or config.server.listen)[0])
    host = "localhost" if address.is_loopback or not address.host else address.shown.rpartition(":")[0]
    return f"{'https' if has_tls(config) else 'http'}://{host}:{address.port}"


async def _inside(config: Any) -> tuple[list[Any], Sequence[str]]:
    """Verdicts, and the addresses that this machine's server says it listens on."""
    import asyncio
    from contextlib import AsyncExitStack

    from entrepot.errors import EntrepotError
    from entrepot.server.compose import CATALOG_FILE, access_settings, catalog_url, open_store
    from entrepot.server.db import check_schema, open_catalog
    from entrepot.server.db.errors import SchemaMismatch
    from entrepot.server.doctor.bucket_rule import BucketLogin, check_lifecycle
    from entrepot.server.doctor.inside import (
        check_catalog,
        check_directory,
        check_nodes,
        check_store,
        find_listens,
    )
    from entrepot.server.doctor.verdict import fail, ok

    data, storage, url = config.server.data, config.storage, catalog_url(config)
    secrets = [access_settings(config).seal_file, *([config.tls.key] if config.tls.key else [])]
    verdicts = list(check_directory(data, holds_catalog=not config.catalog.url, secrets=secrets))
    if not config.catalog.url and not (data / CATALOG_FILE).exists():
        mend = "name the server's directory with --data, or its settings with --config"
        return [*verdicts, fail("catalog", f"there is no catalog in {data}", mend)], ()
    listens: Sequence[str] = ()
    usable = True
    try:
        await asyncio.to_thread(check_schema, url)
        verdicts.append(ok("schema", "as this version needs it"))
    except SchemaMismatch as error:
        usable = False
        verdicts.append(fail("schema", error.message, error.hint or "see docs/catalog.md"))
    except EntrepotError as error:
        usable = False
        verdicts.append(fail("catalog", error.message, error.hint or "see docs/catalog.md"))
    except OSError as error:
        usable = False
        mend = "is the database running, and catalog.url right?"
        verdicts.append(fail("catalog", f"it can't be reached: {error.strerror or error}", mend))
    async with AsyncExitStack() as until_end:
        store = open_store(config)
        until_end.push_async_callback(store.close)
        catalog = None
        if usable:
            catalog = open_catalog(url)
            until_end.push_async_callback(catalog.close)
            verdicts += await check_catalog(catalog)
            verdicts += await check_nodes(catalog)
            listens = await find_listens(catalog)
        verdicts += await check_store(catalog, store)
    if storage.url:
        login = BucketLogin(
            storage.url,
            storage.endpoint,
            storage.region,
            storage.access_key_id,
            str(storage.secret_access_key),
        )
        verdicts.append(await asyncio.to_thread(check_lifecycle, login))
    return verdicts, listens
