"""The composition root: a Config in, services out. The only place that picks implementations.

`prepare` is done once per start, by whoever starts the others; `build` once in each process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot.errors import InvalidInput, NotFound
from entrepot.observability.logs import get_log
from entrepot.observability.tracing import require_tracing
from entrepot.oci.manifest import ManifestLimits
from entrepot.server.access.accounts_mode import AccessSettings, AccountsControl
from entrepot.server.access.decision.protocol import AccessControl
from entrepot.server.access.directory.first_start import prepare_accounts
from entrepot.server.access.open_mode import OpenPolicy
from entrepot.server.access.secrets.issuing import MAX_LIFE_S, MIN_LIFE_S
from entrepot.server.access.secrets.sealing import LOST, SealKey, key_file_exists
from entrepot.server.access.secrets.signing_keys import has_signing_keys, load_keys
from entrepot.server.config.model import Config
from entrepot.server.control.ground import Ground
from entrepot.server.control.services import Services
from entrepot.server.db import Catalog, open_catalog
from entrepot.server.db.copynote import CopyNote, CopyState
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.observed import observed_catalog
from entrepot.server.db.settings import ACCESS_MODE, UNFINISHED_MOVE, clear_setting, get_setting, set_setting
from entrepot.server.movement.upstreams.pull_through import PullThrough
from entrepot.server.repos.blobs import Blobs
from entrepot.server.repos.history import History
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.pulls import Pulls
from entrepot.server.repos.referrers import Referrers
from entrepot.server.repos.repositories import Repositories
from entrepot.server.repos.tags import Tags
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.repos.uploads.arrivals import Arrivals
from entrepot.server.storage.observed import observed_store
from entrepot.server.storage.readcache import ReadCache
from entrepot.server.storage.store import BlobStore
from entrepot.server.telemetry.metrics import Metrics
from entrepot.server.upkeep.identity import bind_if_there, confirm_identity

if TYPE_CHECKING:
    from entrepot.server.control.checkup import Installation

log = get_log(__name__)

CATALOG_FILE = "catalog.db"


def catalog_url(config: Config) -> str:
    return config.catalog.url or f"sqlite:///{(config.server.data / CATALOG_FILE).absolute()}"


def copied_catalog(config: Config) -> Path | None:
    """The SQLite file that `catalog.copy` has copied all the time; None when nothing is copied.

    Raises InvalidInput, NotFound when that can't be done.
    """
    if not config.catalog.copy:
        return None
    from entrepot.server.backup.litestream import CatalogCopy, litestream_program

    file = catalog_file(config)
    CatalogCopy.of(config)
    litestream_program()
    return file


def catalog_file(config: Config) -> Path:
    """The catalog on SQLite. Raises InvalidInput for another one."""
    url = parse_catalog_url(catalog_url(config))
    if url.get_backend_name() != "sqlite":
        raise InvalidInput(
            "only a catalog on SQLite is copied by entrepot",
            hint="PostgreSQL archives its own log: see docs/backup.md",
        )
    return Path(url.database or "")


def open_store(config: Config) -> BlobStore:
    """The place for blobs that `[storage]` names."""
    storage = config.storage
    if storage.url:
        from entrepot.server.storage.objects import open_bucket, part_size

        sign = None
        if storage.cdn_url:
            from entrepot.server.storage.cdn import CdnUrls

            sign = CdnUrls(storage.cdn_url, key_id=storage.cdn_key_id, key_file=storage.cdn_key_file)
        return open_bucket(
            storage.url,
            endpoint=storage.endpoint,
            region=storage.region,
            access_key_id=storage.access_key_id,
            secret_access_key=str(storage.secret_access_key),
            allow_http=storage.allow_http,
            virtual_hosted=storage.virtual_hosted,
            part_bytes=part_size(config.limits.blob_bytes, storage.part_bytes),
            sign=sign,
            arriving=config.server.data / "arriving",
        )
    from entrepot.server.storage.filesystem import filesystem_store

    return filesystem_store(config.server.data, reserve_bytes=storage.reserve)


def repository_limits(config: Config) -> RepositoryLimits:
    """The services' numbers out of `[limits]`, `[manifests]` and `[gc]`."""
    limits = config.limits
    return RepositoryLimits(
        manifest=ManifestLimits(
            max_bytes=limits.manifest_bytes,
            max_depth=limits.json_depth,
            max_elements=limits.json_elements,
            max_layers=limits.manifest_layers,
            max_index_width=limits.index_width,
            max_annotation_bytes=limits.annotation_bytes,
        ),
        index_depth=limits.index_depth,
        sparse=config.manifests.sparse,
        tags_per_push=limits.tags_per_push,
        blob_bytes=limits.blob_bytes,
        uploads_per_principal=limits.uploads_per_principal or None,
        upload_ttl_s=limits.upload_ttl,
        lease_s=config.gc.lease,
        trash_delay_s=trash_delay_s(config),
    )


def trash_delay_s(config: Config) -> float:
    """How long bytes stay after their last row: no shorter than a signed URL to them works, and than the
    catalog can be restored to a time when it had them.
    """
    storage, catalog = config.storage, config.catalog
    return max(
        config.gc.trash_delay,
        storage.redirect_expires if storage.redirect else 0,
        catalog.copy_window if catalog.copy else 0,
    )


def open_read_cache(config: Config, store: BlobStore, metrics: Metrics) -> ReadCache | None:
    """The cache that `[storage]` asks for; None without one, or where the blobs are on this disk anyway."""
    storage = config.storage
    if not storage.cache or not storage.url:
        return None
    reads = metrics.counter("entrepot_cache_reads_total", "Blobs read through the local cache.", ("found",))
    folder = storage.cache_dir or config.server.data / "cache"
    return ReadCache(store, folder, storage.cache, count=reads.add)


async def build(
    config: Config,
    mode: str,
    *,
    metrics: Metrics | None = None,
    on_broken: Callable[[str], None] | None = None,
) -> Services:
    """The services of one process. The catalog must have been prepared. Close them with `close()`."""
    limits = repository_limits(config)
    metrics = metrics or Metrics()
    catalog = observed_catalog(
        open_catalog(catalog_url(config), on_broken=on_broken),
        metrics.histogram,
        slow_s=config.log.slow_query,
    )
    store = observed_store(open_store(config), metrics.histogram, slow_s=config.log.slow_store)
    store.confirm_with(partial(confirm_identity, catalog, store))
    access = await open_access(config, mode, catalog)
    manifests = Manifests(catalog, limits)
    cache = open_read_cache(config, store, metrics)
    blobs = Blobs(catalog, store, limits, cache=cache)
    uploads = RepositoryUploads(catalog, store, limits)
    tags = Tags(catalog)
    referrers = Referrers(catalog)
    repositories = Repositories(catalog)
    pull_through = PullThrough(
        catalog,
        store,
        manifests,
        blobs,
        uploads,
        settings=config.pull_through,
        blob_bytes=limits.blob_bytes,
        undo_window_s=config.gc.undo_window,
        seal=lambda: services.seal,
    )
    services = Services(
        config=config,
        mode=mode,
        catalog=catalog,
        store=store,
        access=access,
        manifests=manifests,
        blobs=blobs,
        uploads=uploads,
        tags=tags,
        referrers=referrers,
        repositories=repositories,
        history=History(catalog),
        pulls=Pulls(catalog),
        under_way=Arrivals(catalog, store),
        pull_through=pull_through,
        metrics=metrics,
        limits=limits,
        seal_file=access_settings(config).seal_file,
        copied=copy_state(config),
    )
    return services


def copy_state(config: Config) -> Callable[[], CopyState] | None:
    """Asks how far the catalog's copy is; None where it is not copied."""
    if not config.catalog.copy:
        return None
    return partial(CopyNote(catalog_file(config)).read, config.catalog.copy)


async def open_access(config: Config, mode: str, catalog: Catalog) -> AccessControl:
    """The policy of a mode."""
    if mode == "open":
        return OpenPolicy()
    accounts = AccountsControl(catalog, access_settings(config))
    await accounts.start()
    return accounts


def access_settings(config: Config) -> AccessSettings:
    """What `[access]` says."""
    return AccessSettings(
        seal_file=config.access.secret_file or config.server.data / "access.key",
        issuer=config.access.issuer,
        token_life_s=min(max(int(config.access.token_life), MIN_LIFE_S), MAX_LIFE_S),
        other_services=config.access.registries,
    )


async def prepare(config: Config) -> dict[str, str]:
    """Migrate the catalog, bind it to its store, settle the access mode. Once per start.

    Returns `mode`, `where` (the data is), `setup` while no admin can sign in, and in `store` why the store
    can't be used, when it can't now. Raises SchemaMismatch, IdentityMismatch, ModeMismatch and others.
    """
    url = catalog_url(config)
    from entrepot.server.db import upgrade

    if config.tracing.endpoint:
        await asyncio.to_thread(require_tracing)
    await asyncio.to_thread(upgrade, url)
    catalog, store = open_catalog(url), open_store(config)
    try:
        away = await bind_if_there(catalog, store)
        if await catalog.read(get_setting, UNFINISHED_MOVE) is not None:
            await catalog.write(clear_setting, UNFINISHED_MOVE)  # from now on it takes pushes
        mode = await settle_mode(config, catalog)
        setup = await _prepare_accounts(config, catalog) if mode == "accounts" else None
    finally:
        await catalog.close()
        await store.close()
    facts = {"mode": mode, "where": where(config)}
    if setup is not None:
        facts["setup"] = str(setup)
    if away is not None:
        log.error("store can't be used, pushes are refused until it can", reason=away)
        facts["store"] = away
    return facts


async def _prepare_accounts(config: Config, catalog: Catalog) -> str | None:
    """The secret of the set-up link while no admin can sign in."""
    if catalog.read_only is not None:
        return None
    settings = access_settings(config)
    await _require_key_file(settings.seal_file, catalog)
    seal = SealKey.load_or_create(settings.seal_file)
    setup = await catalog.write(prepare_accounts, seal, settings.issuer, catalog.clock.now())
    await catalog.read(load_keys, seal)  # another node's key file is told now, not by each process that ends
    return setup


async def _require_key_file(path: Path, catalog: Catalog) -> None:
    """Raises NotFound when what is sealed in the catalog could not be opened: a key made now is of no use."""
    if await catalog.read(has_signing_keys) and not await asyncio.to_thread(key_file_exists, path):
        raise _key_file_missing(path)


def _key_file_missing(path: Path) -> NotFound:
    return NotFound(
        f"the key file {path} is not here, which opens what is sealed in the catalog",
        hint=f"give this machine the servers' own and name it with access.secret_file; {LOST}",
    )


def prepare_now(config: Config) -> dict[str, str]:
    """`prepare` in an event loop of its own."""
    return asyncio.run(prepare(config))


async def settle_mode(config: Config, catalog: Catalog) -> str:
    """The access mode this start has; kept in the catalog."""
    from entrepot.server.config.exposure import choose_mode

    kept = await catalog.read(get_setting, ACCESS_MODE)
    mode = choose_mode(config, kept)
    if kept is None or (mode == "accounts" and kept != mode):
        await catalog.write(set_setting, ACCESS_MODE, mode)
    return mode


async def worker_mode(config: Config) -> str:
    """The access mode of the registry whose background work is to be done on this machine.

    Raises NotFound when there is no catalog or the key file that its accounts need is not here, InvalidInput
    when that is not ours, SchemaMismatch when the catalog has to be migrated first.
    """
    from entrepot.server.db import check_schema

    require_catalog(config)
    await asyncio.to_thread(check_schema, catalog_url(config))
    catalog = open_catalog(catalog_url(config))
    try:
        mode = await catalog.read(get_setting, ACCESS_MODE) or "open"
    finally:
        await catalog.close()
    seal_file = access_settings(config).seal_file
    if mode == "accounts" and not key_file_exists(seal_file):
        raise _key_file_missing(seal_file)
    return mode


def where(config: Config) -> str:
    """Where the data is, as a person may be told: no passwords."""
    places = [str(config.server.data.absolute())]
    if config.catalog.url:
        from sqlalchemy import make_url

        places.append(make_url(config.catalog.url).render_as_string(hide_password=True))
    if config.storage.url:
        places.append(config.storage.url)
    return ", ".join(places)


def require_catalog(config: Config) -> None:
    """Raises NotFound when the data directory has no SQLite catalog: looking must not make one."""
    path = config.server.data / CATALOG_FILE
    if not config.catalog.url and not path.exists():
        raise NotFound(
            f"there is no catalog at {path}",
            hint="name the server's directory with --data DIR, or its settings with --config FILE",
        )


@asynccontextmanager
async def opened_ground(config: Config, *, make: bool = False) -> AsyncIterator[Ground]:
    """Catalog and store alone. `make`: the schema is made, or brought up to date, first.

    Without it raises NotFound when there is no catalog, SchemaMismatch when it has to be migrated first.
    """
    from entrepot.server.db import check_schema, upgrade

    url = catalog_url(config)
    if not make:
        require_catalog(config)
    await asyncio.to_thread(upgrade if make else check_schema, url)
    catalog, store = open_catalog(url), open_store(config)
    try:
        yield Ground(config, url, catalog, store, access_settings(config).seal_file)
    finally:
        await catalog.close()
        await store.close()


def installation(config: Config) -> Installation:
    """What `entrepot admin doctor` looks at: nothing is opened."""
    from entrepot.server.control.checkup import Installation

    return Installation(
        config=config,
        catalog_url=catalog_url(config),
        catalog_file=None if config.catalog.url else config.server.data / CATALOG_FILE,
        seal_file=access_settings(config).seal_file,
        open_store=lambda: open_store(config),
        copied=copy_state(config),
    )


def catalog_schema(config: Config) -> str:
    """The schema that the catalog has, after `prepare_now`."""
    from entrepot.server.db.migrate import schema_version

    return str(schema_version(catalog_url(config)))


@asynccontextmanager
async def opened(config: Config) -> AsyncIterator[Services]:
    """Services for a command of the operator, beside a running server or without one.

    Raises SchemaMismatch when the catalog has to be migrated first.
    """
    url = catalog_url(config)
    require_catalog(config)
    from entrepot.server.db import check_schema

    await asyncio.to_thread(check_schema, url)
    catalog = open_catalog(url)
    try:
        mode = await catalog.read(get_setting, ACCESS_MODE) or "open"
        if mode == "accounts":
            await _require_key_file(access_settings(config).seal_file, catalog)
    finally:
        await catalog.close()
    services = await build(config, mode)
    try:
        yield services
    finally:
        await services.close()
