"""The catalog: everything the registry knows except blob bytes, in SQLite or PostgreSQL.

A transaction is a plain function `(Connection, input) -> result`: no await and no other I/O inside, and its
statements are built once, at import. `Catalog.write` runs it; what it returned is committed.
"""

from typing import TYPE_CHECKING, Any

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.errors import RetryTransaction
from entrepot.server.db.location import open_catalog
from entrepot.server.db.statements import HotQuery

if TYPE_CHECKING:
    from entrepot.server.db.migrate import check_schema, upgrade

__all__ = ["Catalog", "HotQuery", "RetryTransaction", "check_schema", "open_catalog", "upgrade"]


def __getattr__(name: str) -> Any:
    """The migration tools are loaded by those who migrate: they cost a quarter of a start."""
    if name in {"check_schema", "upgrade"}:
        from entrepot.server.db import migrate

        return getattr(migrate, name)
    raise AttributeError(name)
