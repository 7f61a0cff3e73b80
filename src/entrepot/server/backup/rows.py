"""A catalog as lines of JSON, the same for every database: written from one snapshot, read into an empty one.

::

    {"format": 1, "schema": "0002"}
    {"table": "project", "columns": ["id", "name", …]}
    [1, "team", …]                                       one line a row
    {"counter": "project", "value": 17}                  the highest id ever given out

Ids are kept, and so are the counters behind them: an id is never used twice, also after a restore.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO, Final

import msgspec
from sqlalchemy import Connection, LargeBinary, Table, insert, select, text
from zstandard import ZstdCompressor, ZstdDecompressor, ZstdError

from entrepot.server.backup.errors import BackupInvalid
from entrepot.server.db.settings import OF_THE_DATABASE
from entrepot.server.db.tables import metadata

__all__ = ["Change", "count_rows", "dump_rows", "file_pieces", "load_rows", "read_lines", "schema_of"]

FORMAT: Final = 1
BATCH: Final = 500
BATCH_WITH_BYTES: Final = 20
"""Rows at once of tables that hold whole manifests, of up to 4 MiB each."""
_PIECE_BYTES: Final = 1 << 16
"""Compressed; rows may be thirty times as large."""
_OF_RUNNING_PROCESSES: Final = {"node", "lease", "sign_in_attempt", "rights_version"}
"""Tables whose rows mean nothing elsewhere."""

Row = dict[str, Any]
Change = Callable[[str, Row], Row | None]
"""(table, row) → the row to insert, or None to leave it out."""


def dump_rows(connection: Connection, out: BinaryIO) -> int:
    """Write every row to `out`, compressed; returns how many. `connection` shows one snapshot."""
    written = 0
    compressor = ZstdCompressor(level=3, write_checksum=True)
    with compressor.stream_writer(out, closefd=False) as packed:

        def line(value: object) -> None:
            packed.write(msgspec.json.encode(value) + b"\n")

        line({"format": FORMAT, "schema": schema_of(connection)})
        for table in metadata.sorted_tables:
            if table.name in _OF_RUNNING_PROCESSES:
                continue
            line({"table": str(table.name), "columns": [str(column.name) for column in table.columns]})
            found = connection.execute(select(table), execution_options={"yield_per": _batch(table)})
            for row in found:
                if table.name == "setting" and row[0] in OF_THE_DATABASE:
                    continue
                line(list(row))
                written += 1
            counter = _counter(connection, table)
            if counter:
                line({"counter": str(table.name), "value": counter})
    return written


def schema_of(connection: Connection) -> str:
    """The revision of the schema, as migrations write it down."""
    return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one())


def file_pieces(source: BinaryIO) -> Iterator[bytes]:
    """A file in pieces."""
    while piece := source.read(_PIECE_BYTES):
        yield piece


def read_lines(source: Iterable[bytes]) -> Iterator[Any]:
    """Lines out of compressed pieces. Raises BackupInvalid."""
    unpacked = ZstdDecompressor().decompressobj()
    rest = b""
    try:
        for piece in source:
            if unpacked.eof:
                break
            *lines, rest = (rest + unpacked.decompress(piece)).split(b"\n")
            for line in lines:
                yield msgspec.json.decode(line)
    except (ZstdError, msgspec.DecodeError) as error:
        raise BackupInvalid("the rows of the catalog are damaged") from error
    if rest or not unpacked.eof:
        raise BackupInvalid("the rows of the catalog are cut short")


def load_rows(connection: Connection, lines: Iterator[Any], change: Change) -> int:
    """Insert rows into empty tables; returns how many. Raises BackupInvalid."""
    head = next(lines, None)
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise BackupInvalid("these are no rows of a catalog that this version reads")
    loader = _Loader(connection, change)
    for line in lines:
        loader.take(line)
    loader.flush()
    return loader.loaded


class _Loader:
    """Batches rows by table."""

    def __init__(self, connection: Connection, change: Change) -> None:
        self._connection = connection
        self._change = change
        self._table: Table | None = None
        self._columns: list[str] = []
        self._binary: list[int] = []
        self._waiting: list[Row] = []
        self.loaded = 0

    def take(self, line: Any) -> None:
        if isinstance(line, list):
            self._row(line)
        elif "table" in line:
            self.flush()
            self._begin(str(line["table"]), [str(name) for name in line["columns"]])
        elif "counter" in line:
            self.flush()
            _set_counter(self._connection, metadata.tables[line["counter"]], int(line["value"]))

    def flush(self) -> None:
        if self._waiting and self._table is not None:
            self._connection.execute(insert(self._table), self._waiting)
            self.loaded += len(self._waiting)
        self._waiting = []

    def _begin(self, name: str, columns: list[str]) -> None:
        table = metadata.tables.get(name)
        if table is None or any(column not in table.columns for column in columns):
            raise BackupInvalid(
                f"the backup has a table {name} that this version does not know",
                hint="restore it with the version that made it",
            )
        self._table, self._columns = table, columns
        self._binary = [
            at for at, column in enumerate(columns) if isinstance(table.columns[column].type, LargeBinary)
        ]

    def _row(self, values: list[Any]) -> None:
        assert self._table is not None
        for at in self._binary:
            if values[at] is not None:
                values[at] = base64.b64decode(values[at])
        row = self._change(self._table.name, dict(zip(self._columns, values, strict=True)))
        if row is not None:
            self._waiting.append(row)
            if len(self._waiting) >= _batch(self._table):
                self.flush()


def _batch(table: Table) -> int:
    has_bytes = any(isinstance(column.type, LargeBinary) for column in table.columns)
    return BATCH_WITH_BYTES if has_bytes else BATCH


def count_rows(connection: Connection) -> int:
    """Rows of projects and blobs: 0 means that nothing is lost by filling this catalog."""
    total = 0
    for name in ("project", "blob", "principal"):
        total += len(connection.execute(select(text("1")).select_from(metadata.tables[name]).limit(1)).all())
    return total


def _identity_column(table: Table) -> str | None:
    return next((column.name for column in table.columns if column.identity is not None), None)


def _counter(connection: Connection, table: Table) -> int:
    """The highest id that was ever given out; 0 when there is no counter."""
    column = _identity_column(table)
    if column is None:
        return 0
    if connection.dialect.name == "sqlite":
        found = connection.execute(
            text("SELECT seq FROM sqlite_sequence WHERE name = :name"), {"name": table.name}
        ).scalar_one_or_none()
        return int(found or 0)
    name = connection.execute(
        text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": table.name, "column": column}
    ).scalar_one()
    row = connection.execute(text(f"SELECT last_value, is_called FROM {name}")).one()  # noqa: S608 - the database's own name
    return int(row.last_value) if row.is_called else 0


def _set_counter(connection: Connection, table: Table, value: int) -> None:
    column = _identity_column(table)
    if column is None or value <= 0:
        return
    if connection.dialect.name == "sqlite":
        given = {"name": table.name, "value": value}
        done = connection.execute(
            text("UPDATE sqlite_sequence SET seq = max(seq, :value) WHERE name = :name"), given
        )
        if not done.rowcount:
            connection.execute(text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :value)"), given)
        return
    connection.execute(
        text("SELECT setval(pg_get_serial_sequence(:table, :column), :value)"),
        {"table": table.name, "column": column, "value": max(value, _counter(connection, table))},
    )
