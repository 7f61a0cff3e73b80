"""The write-ahead log as a file: what makes committed transactions durable, without SQLite's write lock.

A transaction that SQLite has committed with `synchronous=NORMAL` is in the log but perhaps not on the disk.
`fdatasync` of the log puts it there, and everything that was committed before it, whichever process did
that: frames are chained by checksums, so what survives a power cut is a prefix of the log that ends behind
the last sync at the earliest. A log that starts over in the meantime takes nothing away: SQLite syncs the log
and then the database before a frame may be overwritten.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from entrepot.server.db.errors import CatalogBroken

__all__ = ["SYNCS_AT_ONCE", "WalFile"]

SYNCS_AT_ONCE: Final = 3
"""Each has the log open for itself: the kernel tells of a failed write once for each opening, and no sync may
succeed because another has heard of it.
"""


class WalFile:
    """The log of one database, held open for as long as the database is."""

    def __init__(self, database: Path) -> None:
        self._path = Path(f"{database}-wal")
        self._fds: list[int] = []
        self._identity: tuple[int, int] | None = None
        self.size = 0
        """Bytes at the last `follow`."""

    def follow(self) -> None:
        """Be ready to sync what is about to be committed. Called with a transaction open, before COMMIT:
        the kernel tells of a failed write only those who had the file open.

        Raises CatalogBroken when the log is not the file it was: no connection may outlive it.
        """
        try:
            status = os.stat(self._path)  # noqa: PTH116 - once a transaction
        except OSError as error:
            raise CatalogBroken(f"the database's log {self._path} is not there: {error.strerror}") from error
        self.size = status.st_size
        identity = (status.st_dev, status.st_ino)
        if identity == self._identity:
            return
        if self._identity is not None:
            raise CatalogBroken(f"the database's log {self._path} was replaced under the running registry")
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fds = [os.open(self._path, flags) for _ in range(SYNCS_AT_ONCE)]
        self._sync_name()
        self._identity = identity

    def sync(self, number: int = 0) -> None:
        """Wait until everything committed before this call is on the disk. `number`, below SYNCS_AT_ONCE, is
        that of the one thread that calls it.

        Raises OSError; then what is on the disk is not known, and a second call must not be believed.
        """
        os.fdatasync(self._fds[number])

    def close(self) -> None:
        """Let go of the file. SQLite keeps no locks on the log, so none are lost by this."""
        while self._fds:
            os.close(self._fds.pop())

    def _sync_name(self) -> None:
        directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
