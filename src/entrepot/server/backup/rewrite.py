"""What changes in the rows of a catalog when they get another store."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from entrepot.server.backup.notes import CopiedNames
from entrepot.server.db.settings import OF_THE_DATABASE, STORE_EPOCH
from entrepot.server.db.tables import metadata

__all__ = ["Rewrite", "clear_rows"]

_OF_THE_OLD_STORE: Final = {"upload", "trash"}


class Rewrite:
    """A Change for `load_rows`: the epoch is raised, and blobs get their names in the new store.

    `names` are those in the new store; None when the store stays the same.
    """

    def __init__(self, epoch: int, names: CopiedNames | None) -> None:
        self._epoch = epoch
        self._names = names
        self.damaged = set[str]()
        """Digests of blobs that were thought good and have no bytes in the new store."""

    def begin(self) -> None:
        """Rows come from the first one on (again, when a transaction is repeated)."""
        self.damaged.clear()
        if self._names is not None:
            self._names.begin()

    def __call__(self, table: str, row: dict[str, Any]) -> dict[str, Any] | None:
        if table == "setting" and row["name"] == STORE_EPOCH:
            return {**row, "value": str(self._epoch)}
        if self._names is None:
            return row
        if table in _OF_THE_OLD_STORE:
            return None
        return self._blob(row, self._names) if table == "blob" else row

    def _blob(self, row: dict[str, Any], names: CopiedNames) -> dict[str, Any]:
        name = names.use(row["phys"])
        if name is not None:
            return {**row, "phys": name}
        if row["state"] != "live":
            return row
        self.damaged.add(row["digest"])
        return {**row, "state": "missing"}


def clear_rows(connection: Connection) -> None:
    """Remove what making and opening a new catalog has written into it."""
    for table in reversed(metadata.sorted_tables):
        if table.name == "setting":
            connection.execute(table.delete().where(table.c.name.not_in(OF_THE_DATABASE)))
        else:
            connection.execute(table.delete())
