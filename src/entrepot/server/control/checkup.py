"""Is this installation right: looked at from the inside, and asked as each kind of client asks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from entrepot.errors import EntrepotError
from entrepot.server.config.addresses import Address
from entrepot.server.config.exposure import has_tls
from entrepot.server.config.model import Config
from entrepot.server.db import check_schema, open_catalog
from entrepot.server.db.copynote import CopyState
from entrepot.server.db.errors import SchemaMismatch
from entrepot.server.doctor.bucket_rule import BucketLogin, check_lifecycle
from entrepot.server.doctor.inside import (
    check_catalog,
    check_copy,
    check_directory,
    check_nodes,
    check_store,
    find_listens,
)
from entrepot.server.doctor.outside import check_wire
from entrepot.server.doctor.verdict import CheckVerdict, fail, ok
from entrepot.server.storage.store import BlobStore

__all__ = ["CheckVerdict", "Installation", "check_up"]


@dataclass(frozen=True, slots=True)
class Installation:
    """What the settings name. Nothing of it need be there, or work."""

    config: Config
    catalog_url: str
    catalog_file: Path | None
    """None: the catalog is a database server's."""
    seal_file: Path
    open_store: Callable[[], BlobStore]
    copied: Callable[[], CopyState] | None = None
    """How far the catalog's copy is; None where it is not copied."""


async def check_up(
    installation: Installation, *, url: str | None = None, ca: str | None = None, inside_only: bool = False
) -> list[CheckVerdict]:
    """Changes nothing but a probe of a few bytes in the store, removed at once. Raises nothing that an
    operator could cause.

    `url`: where clients reach the registry; None: as its settings say, else as the running server does.
    """
    verdicts, listens = await _inside(installation)
    if not inside_only:
        where = url or _address(installation.config, listens)
        verdicts += await asyncio.to_thread(check_wire, where, cafile=ca)
    return verdicts


def _address(config: Config, listens: Sequence[str]) -> str:
    """Where this machine reaches its own registry: as the running server says, else as the settings do."""
    if config.server.public_url:
        return str(config.server.public_url)
    address = Address.parse((listens or config.server.listen)[0])
    host = "localhost" if address.is_loopback or not address.host else address.shown.rpartition(":")[0]
    return f"{'https' if has_tls(config) else 'http'}://{host}:{address.port}"


async def _inside(installation: Installation) -> tuple[list[CheckVerdict], Sequence[str]]:
    """Verdicts, and the addresses that this machine's server says it listens on."""
    config = installation.config
    data, file = config.server.data, installation.catalog_file
    secrets = [installation.seal_file, *([config.tls.key] if config.tls.key else [])]
    verdicts = list(check_directory(data, holds_catalog=file is not None, secrets=secrets))
    if file is not None and not file.exists():
        mend = "name the server's directory with --data, or its settings with --config"
        return [*verdicts, fail("catalog", f"there is no catalog in {data}", mend)], ()
    schema = await asyncio.to_thread(_check_schema, installation.catalog_url)
    verdicts.append(schema)
    listens: Sequence[str] = ()
    async with AsyncExitStack() as until_end:
        store = installation.open_store()
        until_end.push_async_callback(store.close)
        catalog = None
        if schema.state == "ok":
            catalog = open_catalog(installation.catalog_url)
            until_end.push_async_callback(catalog.close)
            verdicts += await check_catalog(catalog)
            verdicts += await check_nodes(catalog)
            listens = await find_listens(catalog)
        verdicts += await check_store(catalog, store)
    if installation.copied is not None:
        verdicts.append(check_copy(await asyncio.to_thread(installation.copied)))
    storage = config.storage
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


def _check_schema(url: str) -> CheckVerdict:
    try:
        check_schema(url)
    except SchemaMismatch as error:
        return fail("schema", error.message, error.hint or "see docs/catalog.md")
    except EntrepotError as error:
        return fail("catalog", error.message, error.hint or "see docs/catalog.md")
    except OSError as error:
        mend = "is the database running, and catalog.url right?"
        return fail("catalog", f"it can't be reached: {error.strerror or error}", mend)
    return ok("schema", "as this version needs it")
