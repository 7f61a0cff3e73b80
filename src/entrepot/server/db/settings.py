"""The catalog's own values, kept beside the data they describe. Functions for use inside a transaction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from entrepot.server.db.errors import RetryTransaction
from entrepot.server.db.tables import setting

__all__ = [
    "ACCESS_MODE",
    "CLOCK_ANCHOR",
    "CLOCK_OFFSET",
    "OF_THE_DATABASE",
    "PREPARED_AT",
    "RESTORED_SEEN",
    "SCHEMA_SERVES",
    "SCRUB_ROUND",
    "STORED",
    "STORE_EPOCH",
    "STORE_ID",
    "UNFINISHED_MOVE",
    "CatalogIdentity",
    "clear_setting",
    "get_identity",
    "get_setting",
    "keep_identity",
    "keep_setting",
    "set_identity",
    "set_setting",
]

STORE_ID: Final = "store_id"
"""Random, made once; the blob store carries the same."""
STORE_EPOCH: Final = "store_epoch"
"""Raised by each restore; a catalog behind its store is refused."""
ACCESS_MODE: Final = "access_mode"
"""`open` or `accounts`; unset in a new catalog."""
CLOCK_ANCHOR: Final = "clock_anchor"
"""`<boot id> <microseconds>`: see `server.db.clock`."""
CLOCK_OFFSET: Final = "clock_offset"
"""Microseconds that PostgreSQL's clock was set forward since the catalog was made; see `db.postgresql`."""
PREPARED_AT: Final = "prepared_at"
"""When a server last prepared the accounts, microseconds."""
RESTORED_SEEN: Final = "restored_seen"
"""`<epoch> <steady time>`: when the reconcile pass first met a catalog of this epoch."""
SCHEMA_SERVES: Final = "schema_serves"
"""Older schema revisions, with spaces between, whose programs may work on this schema; see `db.migrate`."""
SCRUB_ROUND: Final = "scrub_round"
"""`<steady time it began> <digest>`: how far the round of the scrub is; see `jobs.scrub`."""
STORED: Final = "stored"
"""JSON: how many live blobs and bytes there were at a time; see `jobs.stored`."""
UNFINISHED_MOVE: Final = "unfinished_move"
"""The store id of the registry whose rows were copied here, until the move is done or a server starts."""
OF_THE_DATABASE: Final = (CLOCK_ANCHOR, CLOCK_OFFSET, SCHEMA_SERVES)
"""Values of this database, not of the registry in it: they don't go along when it moves."""

_GET = select(setting.c.value).where(setting.c.name == bindparam("p_name"))
_UPDATE = update(setting).where(setting.c.name == bindparam("p_name")).values(value=bindparam("p_value"))
_INSERT = insert(setting).values(name=bindparam("p_name"), value=bindparam("p_value"))
_DELETE = delete(setting).where(setting.c.name == bindparam("p_name"))


@dataclass(frozen=True, slots=True)
class CatalogIdentity:
    """Which blob store belongs to this catalog."""

    store_id: str
    epoch: int


def get_setting(connection: Connection, name: str) -> str | None:
    """The value of a setting, None when it was never set."""
    value: str | None = connection.execute(_GET, {"p_name": name}).scalar_one_or_none()
    return value


def set_setting(connection: Connection, name: str, value: str) -> None:
    """Set or replace a setting."""
    if connection.execute(_UPDATE, {"p_name": name, "p_value": value}).rowcount == 0:
        _insert(connection, name, value)


def keep_setting(connection: Connection, name: str, value: str) -> str:
    """The value of a setting, `value` if it was never set. Who asks at the same time is told the same."""
    kept = get_setting(connection, name)
    if kept is not None:
        return kept
    _insert(connection, name, value)
    return value


def _insert(connection: Connection, name: str, value: str) -> None:
    try:
        connection.execute(_INSERT, {"p_name": name, "p_value": value})
    except IntegrityError as error:
        raise RetryTransaction from error  # another process has set it first


def clear_setting(connection: Connection, name: str) -> None:
    """Forget a setting."""
    connection.execute(_DELETE, {"p_name": name})


def get_identity(connection: Connection) -> CatalogIdentity | None:
    """The store this catalog belongs to; None while it is new."""
    store_id = get_setting(connection, STORE_ID)
    if store_id is None:
        return None
    return CatalogIdentity(store_id, int(get_setting(connection, STORE_EPOCH) or "0"))


def set_identity(connection: Connection, store_id: str, epoch: int) -> None:
    """Bind this catalog to a store."""
    set_setting(connection, STORE_ID, store_id)
    set_setting(connection, STORE_EPOCH, str(epoch))


def keep_identity(connection: Connection, store_id: str) -> CatalogIdentity:
    """The store this catalog belongs to: `store_id`, in its first epoch, if it belongs to none yet."""
    kept = keep_setting(connection, STORE_ID, store_id)
    return CatalogIdentity(kept, int(keep_setting(connection, STORE_EPOCH, "1")))
