"""What can go wrong with the catalog, in words an operator can act on."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import Conflict, InvalidInput, Unavailable

__all__ = [
    "CatalogBroken",
    "CatalogDamaged",
    "CatalogFull",
    "CatalogUnavailable",
    "InvalidCatalogUrl",
    "RetryTransaction",
    "SchemaMismatch",
    "TextRefused",
]


class RetryTransaction(Exception):
    """Raised by a transaction function that lost a race (a row it wanted to insert exists)."""


class CatalogUnavailable(Unavailable):
    """The database could not take this now. Nothing of the call is visible, unless `outcome_unknown`."""

    code: ClassVar[str] = "catalog-unavailable"
    outcome_unknown: bool = False
    """The connection broke during COMMIT: the change may have been made. Repeating the request is safe."""


class CatalogFull(CatalogUnavailable):
    """No room for the database to grow; reads go on working."""

    code: ClassVar[str] = "catalog-full"


class CatalogBroken(CatalogUnavailable):
    """The disk under the database failed. This process writes no more."""

    code: ClassVar[str] = "catalog-broken"


class CatalogDamaged(CatalogUnavailable):
    """The database file is damaged. Nothing is written until it is sound; what can be read is served."""

    code: ClassVar[str] = "catalog-damaged"

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the database is damaged; nothing can be changed until it is restored: {reason}",
            hint="look with: entrepot admin fsck; then restore a backup",
            retry_after_s=60,
        )
        self.reason = reason


class SchemaMismatch(Conflict):
    """The database was made by another version."""

    code: ClassVar[str] = "schema-mismatch"


class TextRefused(InvalidInput):
    """A text that the database knows no way to keep: on PostgreSQL, one with NUL in it."""

    code: ClassVar[str] = "text-refused"


class InvalidCatalogUrl(InvalidInput):
    """Neither `sqlite:///path` nor `postgresql://…`."""

    code: ClassVar[str] = "invalid-catalog-url"
