"""What can go wrong with the catalog, in words an operator can act on."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import Conflict, InvalidInput, Unavailable

__all__ = ["CatalogBroken", "CatalogFull", "CatalogUnavailable", "InvalidCatalogUrl", "SchemaMismatch"]


class CatalogUnavailable(Unavailable):
    """The database could not take this now. Nothing of the call is visible, unless `outcome_unknown`."""

    code: ClassVar[str] = "catalog-unavailable"
    outcome_unknown: bool = False
    """The connection broke during COMMIT: the change may have been made. Repeating the request is safe."""


class CatalogFull(CatalogUnavailable):
    """No room for the database to grow; reads go on working."""

    code: ClassVar[str] = "catalog-full"


class CatalogBroken(CatalogUnavailable):
    """The disk under the database failed or the file is damaged. This process writes no more."""

    code: ClassVar[str] = "catalog-broken"


class SchemaMismatch(Conflict):
    """The database was made by another version."""

    code: ClassVar[str] = "schema-mismatch"


class InvalidCatalogUrl(InvalidInput):
    """Neither `sqlite:///path` nor `postgresql://…`."""

    code: ClassVar[str] = "invalid-catalog-url"
