"""Who of this machine writes to a SQLite database."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from entrepot.server.db.errors import CatalogUnavailable

__all__ = ["PATIENCE_S", "WriterLock", "copying_mark"]

PATIENCE_S: Final = 10.0
"""How long a transaction waits for someone who writes without the flock (SQLite's shell, a backup), or holds
all changes back."""
HOLD_POLL_S: Final = 0.05


def copying_mark(database: Path) -> Path:
    """Locked, shared, by who copies the log elsewhere and starts it over itself."""
    return database.with_name(database.name + ".copying")


class WriterLock:
    """`flock` on `<database>.writer`: one writing transaction at a time on this machine.

    A second file, `<database>.hold`, is locked by whoever holds all changes back for longer, so that writers
    can tell that from another's transaction, and give up.
    """

    def __init__(self, database: Path) -> None:
        self._fd = os.open(f"{database}.writer", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._hold_fd = os.open(f"{database}.hold", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._copying = copying_mark(database)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the lock and keep it for the block. Raises CatalogUnavailable when changes are held
        back for more than PATIENCE_S.
        """
        until = time.monotonic() + PATIENCE_S
        while True:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if not self._is_on_hold():
                break
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            if time.monotonic() > until:
                raise CatalogUnavailable(
                    "changes are held back for a while, as when a registry moves; try again soon",
                    retry_after_s=10,
                )
            time.sleep(HOLD_POLL_S)
        try:
            yield
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def take(self) -> bool:
        """Take the lock if it is free; `give_back` it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if self._is_on_hold():
            self.give_back()
            return False
        return True

    def give_back(self) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    @contextmanager
    def all_held_back(self) -> Iterator[None]:
        """No transaction begins in the block, and none is under way; the lock ends with this process."""
        fcntl.flock(self._hold_fd, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)  # behind those that wait already
            fcntl.flock(self._fd, fcntl.LOCK_UN)
            yield
        finally:
            fcntl.flock(self._hold_fd, fcntl.LOCK_UN)

    def is_log_kept(self) -> bool:
        """Whether the log is another's to copy into the database. Asked with the lock in hand, which makes
        the answer last until it is given back.
        """
        try:
            mark = os.open(self._copying, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(mark)
        return False

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._hold_fd)

    def _is_on_hold(self) -> bool:
        """Asked with the lock in hand."""
        try:
            fcntl.flock(self._hold_fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        fcntl.flock(self._hold_fd, fcntl.LOCK_UN)
        return False
