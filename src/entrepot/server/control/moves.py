"""A registry moves to another catalog, another store, or both."""

from __future__ import annotations

import fcntl
from collections.abc import Callable

from entrepot.errors import InvalidInput
from entrepot.server.backup.migrate import Migrated, Side, migrate
from entrepot.server.config.model import Config
from entrepot.server.control.backups import write_secret
from entrepot.server.control.ground import Ground
from entrepot.server.upkeep.nodes import list_nodes

__all__ = ["move"]


async def move(
    old: Ground, new: Ground, *, deep: bool = False, wait: bool = True, say: Callable[[str], None]
) -> Migrated:
    """Everything; it is readable throughout, and takes pushes until the last step. Nothing in the old place
    is deleted, and an interrupted run goes on. `wait`: until the old servers have stopped.

    Raises InvalidInput for one and the same catalog, TargetInUse, HoldFailed, HoldLost.
    """
    if old.url == new.url:
        raise InvalidInput(
            "both places have the same catalog",
            hint="name another server.data or catalog.url in the new settings",
        )
    if old.seal_file.exists() and not new.seal_file.exists():
        # What opens the secrets in the catalog goes with it.
        write_secret(new.seal_file, old.seal_file.read_bytes())

    async def stopped() -> bool:
        return not wait or await _is_stopped(old)

    return await migrate(
        Side(old.url, old.catalog, old.store),
        Side(new.url, new.catalog, new.store),
        new.config.server.data / "migration.db",
        same_store=_store_name(old.config) == _store_name(new.config),
        one_directory=old.config.server.data.resolve() == new.config.server.data.resolve(),
        servers_stopped=stopped,
        deep=deep,
        say=say,
    )


def _store_name(config: Config) -> tuple[str, str]:
    storage = config.storage
    if storage.url:
        return storage.url.rstrip("/"), storage.endpoint
    return str(config.server.data.resolve()), ""


async def _is_stopped(ground: Ground) -> bool:
    """Whether nothing works on a place any more, servers and workers."""
    lock = ground.config.server.data / "serve.lock"
    if lock.exists():
        with lock.open("rb") as held:
            try:
                fcntl.flock(held, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
    catalog = ground.catalog
    alive = {
        node.role for node in await catalog.read(list_nodes, catalog.clock.steady()) if node.state == "alive"
    }
    # On SQLite the lock above speaks for `serve`; its row outlives it for a while when it was killed.
    return not (alive & {"worker"} if catalog.dialect == "sqlite" else alive)
