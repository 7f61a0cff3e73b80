"""The catalog: everything the registry knows except blob bytes, in SQLite or PostgreSQL.

A transaction is a plain function `(Connection, input) -> result`: no await and no other I/O inside, and its
statements are built once, at import. `Catalog.write` runs it; what it returned is committed.
"""

from entrepot.server.db.engine import Catalog, RetryTransaction, open_catalog
from entrepot.server.db.hot import HotQuery
from entrepot.server.db.migrate import check_schema, upgrade

__all__ = ["Catalog", "HotQuery", "RetryTransaction", "check_schema", "open_catalog", "upgrade"]
