"""Where a catalog is: its URL, and the implementation that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.errors import InvalidCatalogUrl

__all__ = ["open_catalog", "parse_catalog_url"]


def parse_catalog_url(url: str) -> URL:
    """The URL in parts. Raises InvalidCatalogUrl."""
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise InvalidCatalogUrl(_HOW) from error
    kind = parsed.get_backend_name() if "://" in url else ""
    if kind in {"postgresql", "postgres"}:
        return parsed.set(drivername="postgresql+asyncpg")
    if kind == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(drivername="sqlite")
    raise InvalidCatalogUrl(_HOW)


_HOW = "the database URL must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME"


def open_catalog(url: str, *, on_broken: Callable[[str], None] | None = None) -> Catalog:
    """Open the catalog that `url` names; its schema must be up to date (`check_schema`).

    `on_broken` is called, from any thread, when this process must not write any more (see `Catalog.broken`).
    Raises InvalidCatalogUrl, CatalogUnavailable.
    """
    parsed = parse_catalog_url(url)
    if parsed.get_backend_name() == "sqlite":
        from entrepot.server.db.sqlite import SqliteCatalog

        return SqliteCatalog(Path(parsed.database or ""), on_broken=on_broken)
    from entrepot.server.db.postgresql import PostgresqlCatalog

    return PostgresqlCatalog(parsed)
