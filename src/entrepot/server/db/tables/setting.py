"""Values of the catalog itself: whose store belongs to it, the access mode, the schema's own needs."""

from __future__ import annotations

from sqlalchemy import Column, Table, Text

from entrepot.server.db.tables.base import metadata

setting = Table(
    "setting",
    metadata,
    Column("name", Text, primary_key=True),  # names: see server.db.settings
    Column("value", Text, nullable=False),
)
