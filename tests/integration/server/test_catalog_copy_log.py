"""Litestream and a log that is started over: what it has not read is in the copy all the same."""

import contextlib
import http.client
import json
import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.server.backup.litestream import litestream_program
from entrepot.server.db.logkeeper import keep_log
from entrepot.server.db.sqlite import connect_sqlite
from entrepot.server.db.writerlock import WriterLock
from tests.support.processes import wait_until


class Copied:
    """A database, and Litestream that copies it when it is asked to."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "catalog.db"
        self._folder, self._socket = folder, folder / "s"
        self._settings = folder / "litestream.json"
        replica = {"type": "file", "path": str(folder / "copy"), "sync-interval": "1s"}
        entry = {"path": str(self.database), "monitor-interval": "1h", "replica": replica}
        socket_ = {"enabled": True, "path": str(self._socket)}
        self._settings.write_text(json.dumps({"socket": socket_, "dbs": [entry]}))
        self.connection = connect_sqlite(self.database, synchronous="NORMAL")
        self.connection.execute("PRAGMA wal_autocheckpoint=0")
        self.connection.execute("CREATE TABLE row (name, content)")

    def write(self, name: str, *, times: int = 1) -> None:
        for _ in range(times):
            self.connection.execute("INSERT INTO row VALUES (?, ?)", (name, os.urandom(3000)))

    def miss(self) -> None:
        """A change on pages that nothing else touches: new ones may be in a copy by chance."""
        self.connection.execute("UPDATE row SET name = 'missed' WHERE rowid <= 3")

    def start_log_over(self) -> None:
        """As whoever may: copy all of it into the database, and write a little."""
        lock = WriterLock(self.database)
        try:
            with lock.held():
                if not lock.is_log_kept():
                    self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        finally:
            lock.close()
        self.write("after")

    @contextlib.contextmanager
    def litestream(self) -> Iterator[None]:
        self._socket.unlink(missing_ok=True)
        argv = [str(litestream_program()), "replicate", "-config", str(self._settings)]
        with (
            keep_log(self.database),
            subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running,
        ):
            try:
                wait_until(self._socket.exists, what="Litestream's socket")
                yield
            finally:
                running.kill()

    def copy(self) -> None:
        wait_until(self._copy, what="the copy")

    def _copy(self) -> bool:
        asking = http.client.HTTPConnection("litestream", timeout=30)
        with contextlib.suppress(OSError), contextlib.closing(asking):
            asking.sock = socket.socket(socket.AF_UNIX)
            asking.sock.connect(str(self._socket))
            asking.request(
                "POST", "/sync", json.dumps({"path": str(self.database), "wait": True, "timeout": 20})
            )
            said = json.loads(asking.getresponse().read())
            return bool(said.get("txid")) and said["txid"] == said.get("replicated_txid")
        return False

    def restored(self) -> dict[str, int]:
        to = self._folder / "restored.db"
        argv = [str(litestream_program()), "restore", "-config", str(self._settings), "-o", str(to)]
        subprocess.run([*argv, str(self.database)], check=True, capture_output=True, timeout=60)
        with contextlib.closing(sqlite3.connect(to)) as connection:
            return dict(connection.execute("SELECT name, count(*) FROM row GROUP BY name"))


@pytest.fixture
def copied(tmp_path: Path) -> Iterator[Copied]:
    made = Copied(tmp_path)
    yield made
    made.connection.close()


WHOLE = {"before": 37, "missed": 3, "after": 1}


def test_a_log_that_was_started_over_while_litestream_was_away(copied: Copied) -> None:
    """Its last frame is still in the log, and looks as if nothing had been between."""
    with copied.litestream():
        copied.write("before", times=40)
        copied.copy()
    copied.miss()
    copied.start_log_over()
    with copied.litestream():
        copied.copy()
    assert copied.restored() == WHOLE


def test_a_log_that_is_full_between_two_questions(copied: Copied) -> None:
    """Litestream has no read lock then: it lost it with the request in which it began."""
    with copied.litestream():
        copied.copy()
        copied.write("before", times=40)
        copied.copy()
        copied.miss()
        copied.start_log_over()
        copied.copy()
    assert copied.restored() == WHOLE
