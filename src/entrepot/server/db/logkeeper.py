"""Who may copy the write-ahead log into the database, after which it is started over.

Only one that has copied the log elsewhere before, while there is one: what Litestream has not read by then
would be in no copy, and Litestream may not notice. It holds a read lock of SQLite against that, which it
loses with the request that it took it in (0.5.17).
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.sqlite import connect_sqlite
from entrepot.server.db.writerlock import WriterLock, copying_mark

__all__ = ["keep_log"]

WAIT_MS: Final = 1_000
"""For transactions that still read from the log. Nobody can write meanwhile."""


@contextmanager
def keep_log(database: Path) -> Iterator[None]:
    """An emptied log, which nobody starts over for the block but the one that copies it. Ends with this
    process too.

    Entering blocks. Raises CatalogUnavailable when somebody reads from the log for long; nothing is lost by
    it, and it can be tried again.
    """
    mark = os.open(copying_mark(database), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(mark, fcntl.LOCK_SH)
        _empty(database)
        yield
    finally:
        os.close(mark)


def _empty(database: Path) -> None:
    """All that the log has goes into the database, and not a byte of it is left."""
    lock = WriterLock(database)
    try:
        with lock.held(), closing(connect_sqlite(database, busy_timeout_ms=WAIT_MS)) as connection:
            is_busy = bool(connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0])
    except sqlite3.Error as error:
        why = f"the log of {database} can't be emptied: {error}"
        raise CatalogUnavailable(why, retry_after_s=5) from error
    finally:
        lock.close()
    if is_busy:
        raise CatalogUnavailable(
            f"the log of {database} can't be emptied while somebody reads from it", retry_after_s=5
        )
