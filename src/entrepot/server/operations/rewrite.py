"""What changes in the rows of a catalog when they get another store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import Connection

from entrepot.server.db.settings import CLOCK_ANCHOR, STORE_EPOCH
from entrepot.server.db.tables import metadata

__all__ = ["Rewrite", "clear_rows"]

_OF_THE_OLD_STORE: Final = {"upload", "trash"}


class Rewrite:
    """A Change for `load_rows`: the epoch is raised, and blobs get their names in the new store.

    `names` is old physical name → new one; None when the store stays the same.
    """

    def __init__(self, epoch: int, names: Mapping[str, str] | None) -> None:
        self._epoch = epoch
        self._names = names
        self._used = set[str]()
        self.damaged = set[str]()
        """Digests of blobs that were thought good and have no bytes in the new store."""

    def begin(self) -> None:
        """Rows come from the first one on (again, when a transaction is repeated)."""
        self._used.clear()
        self.damaged.clear()

    def __call__(self, table: str, row: dict[str, Any]) -> dict[str, Any] | None:
        if table == "setting" and row["name"] == STORE_EPOCH:
            return {**row, "value": str(self._epoch)}
        if self._names is None:
            return row
        if table in _OF_THE_OLD_STORE:
            return None
        return self._blob(row, self._names) if table == "blob" else row

    def unused(self) -> list[str]:
        """New names that no row has."""
        names = () if self._names is None else self._names.values()
        return [name for name in names if name not in self._used]

    def _blob(self, row: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
        name = names.get(row["phys"])
        if name is not None:
            self._used.add(name)
            return {**row, "phys": name}
        if row["state"] != "live":
            return row
        self.damaged.add(row["digest"])
        return {**row, "state": "missing"}


def clear_rows(connection: Connection) -> None:
    """Remove what making and opening a new catalog has written into it."""
    for table in reversed(metadata.sorted_tables):
        if table.name == "setting":
            connection.execute(table.delete().where(table.c.name != CLOCK_ANCHOR))
        else:
            connection.execute(table.delete())
