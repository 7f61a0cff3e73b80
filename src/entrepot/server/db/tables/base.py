"""What every table shares: the metadata, the column kinds, the names of constraints."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Column, Identity, Integer, MetaData, Text
from sqlalchemy.dialects.postgresql import TEXT

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""All tables of the catalog; other areas add theirs in their own modules of this package."""

Moment = BigInteger
"""A time: microseconds since 1970, UTC. Durations in columns are microseconds too."""

Key = BigInteger().with_variant(Integer, "sqlite")
"""Row ids, and references to them. (SQLite counts up only a column that is exactly INTEGER.)"""

Bytewise = Text().with_variant(TEXT(collation="C"), "postgresql")
"""Text compared and sorted byte by byte on every database, as the distribution specification lists names."""


def row_id(name: str = "id") -> Column[Any]:
    """A primary key that counts up and is never used twice (give the table `sqlite_autoincrement=True`)."""
    return Column(name, Key, Identity(always=False), primary_key=True)
