"""SQLite's writer thread: what shares a transaction, what a failure takes with it, who may write."""

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, select

from entrepot.server.db import HotQuery, open_catalog, writer
from entrepot.server.db.clock import boot_id
from entrepot.server.db.errors import CatalogBroken, CatalogFull, CatalogUnavailable, InvalidCatalogUrl
from entrepot.server.db.settings import get_setting, set_setting
from entrepot.server.db.sqlite import SqliteCatalog, connect_sqlite
from entrepot.server.db.tables import setting
from entrepot.server.db.walfile import WalFile
from entrepot.server.db.writer import CHECKPOINT_BYTES, CHECKPOINT_CALLS, Writer
from entrepot.server.db.writerlock import WriterLock
from tests.support.programs import require_program

pytestmark = pytest.mark.anyio

VALUE = HotQuery(select(setting.c.value).where(setting.c.name == bindparam("name")))


@pytest.fixture
async def catalog(sqlite_url: str) -> Any:
    opened = open_catalog(sqlite_url)
    yield opened
    await opened.close()


def path_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.mark.parametrize("url", ["", "catalog.db", "sqlite://", "sqlite:///:memory:", "mysql://h/n"])
def test_other_urls_are_refused_in_words(url: str) -> None:
    with pytest.raises(InvalidCatalogUrl, match="sqlite:///PATH or postgresql"):
        open_catalog(url)


def test_connections_have_the_settings_safety_rests_on(sqlite_url: str) -> None:
    for synchronous, number in (("FULL", 2), ("NORMAL", 1)):
        connection = connect_sqlite(path_of(sqlite_url), synchronous=synchronous)
        found = [
            connection.execute(f"pragma {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        ]
        connection.close()
        assert found == ["wal", number, 1]


def test_a_setting_that_is_not_taken_refuses_to_open(sqlite_url: str) -> None:
    holder = sqlite3.connect(path_of(sqlite_url))
    holder.execute("pragma journal_mode=delete")
    holder.execute("begin exclusive")
    with pytest.raises(CatalogUnavailable):
        connect_sqlite(path_of(sqlite_url), busy_timeout_ms=0, timeout_s=0)
    holder.close()


async def test_files_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    catalog = open_catalog(f"sqlite:///{tmp_path}/new/catalog.db")
    await catalog.write(lambda c: c.exec_driver_sql("create table t (x)") and None)
    files = list((tmp_path / "new").iterdir())
    assert {"catalog.db", "catalog.db-wal", "catalog.db.writer"} <= {file.name for file in files}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    await catalog.close()


async def test_what_is_queued_shares_a_transaction(catalog: SqliteCatalog) -> None:
    held, began, seen = asyncio.Event(), asyncio.Event(), []
    loop = asyncio.get_running_loop()

    def first(connection: Connection) -> None:
        # Everything below is queued before this returns, so it becomes one batch.
        loop.call_soon_threadsafe(began.set)
        asyncio.run_coroutine_threadsafe(held.wait(), loop).result(60)

    def count(connection: Connection) -> None:
        set_setting(connection, "n", str(int(get_setting(connection, "n") or "0") + 1))
        visible = sqlite3.connect(catalog.path)
        seen.append(visible.execute("select count(*) from setting where name = 'n'").fetchone()[0])
        visible.close()

    calls = [asyncio.ensure_future(catalog.write(first))]
    await began.wait()
    calls += [asyncio.ensure_future(catalog.write(count)) for _ in range(20)]
    await asyncio.sleep(0)
    held.set()
    await asyncio.gather(*calls)
    assert seen == [0] * 20  # nobody saw the first one's row until all had run
    assert await catalog.hot(VALUE, name="n") == [("20",)]


async def test_a_function_that_ends_the_transaction_fails_alone(catalog: SqliteCatalog) -> None:
    """An error that takes the whole transaction with it has the others run again."""

    def destroy(connection: Connection) -> None:
        connection.exec_driver_sql("ROLLBACK")
        raise sqlite3.OperationalError("the transaction is gone")

    calls = [
        *(catalog.write(set_setting, f"before{i}", "x") for i in range(5)),
        catalog.write(destroy),
        *(catalog.write(set_setting, f"after{i}", "x") for i in range(5)),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [isinstance(result, Exception) for result in results] == [False] * 5 + [True] + [False] * 5
    for name in ("before4", "after4"):
        assert await catalog.hot(VALUE, name=name) == [("x",)]


async def test_a_full_disk_is_told_and_passes(catalog: SqliteCatalog) -> None:
    """D1: the change that does not fit is refused with a time to come back, others and reads go on."""

    def limit(connection: Connection) -> None:
        pages = connection.exec_driver_sql("pragma page_count").scalar_one()
        connection.exec_driver_sql(f"pragma max_page_count={pages + 3}")

    await catalog.write(limit)
    big = catalog.write(set_setting, "big", "x" * 500_000)
    small = catalog.write(set_setting, "small", "x")
    full, _ = await asyncio.gather(big, small, return_exceptions=True)
    assert isinstance(full, CatalogFull)
    assert full.retry_after_s
    assert await catalog.hot(VALUE, name="small") == [("x",)]
    assert await catalog.hot(VALUE, name="big") == []
    assert catalog.broken is None


async def test_an_io_error_ends_writing_in_this_process(sqlite_url: str) -> None:
    """C6: after the disk has failed once, nothing more is acknowledged."""
    told: list[str] = []
    catalog = open_catalog(sqlite_url, on_broken=told.append)

    def fail(connection: Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        raise error

    with pytest.raises(CatalogBroken, match="SQLITE_IOERR_FSYNC"):
        await catalog.write(fail)
    assert told
    assert told[0] == catalog.broken
    with pytest.raises(CatalogBroken):
        await catalog.write(set_setting, "a", "b")
    assert await catalog.hot(VALUE, name="a") == []
    await catalog.close()


class HeldSync:
    """Stands in for the disk under the log: each sync waits until it is let through, or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.through = threading.Semaphore(0), threading.Semaphore(0)
        self.count = 0
        self.error: OSError | None = None
        self.fails_once = False
        real = WalFile.sync

        def sync(wal: WalFile, number: int = 0) -> None:
            self.count += 1
            self.begun.release()
            assert self.through.acquire(timeout=60)
            error, self.error = self.error, None if self.fails_once else self.error
            if error is not None:
                raise error
            real(wal, number)

        monkeypatch.setattr(WalFile, "sync", sync)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=60)


async def test_durable_answers_wait_for_the_disk_and_nothing_else_does(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5: an answer comes after a sync that began after its commit; what comes meanwhile shares the next."""
    disk = HeldSync(monkeypatch)
    first = asyncio.ensure_future(catalog.write(set_setting, "first", "x"))
    await disk.wait()
    later = [asyncio.ensure_future(catalog.write(set_setting, f"later{i}", "x")) for i in range(10)]
    await asyncio.sleep(0)
    await catalog.write(set_setting, "relaxed", "x", durable=False)  # committed behind all of them
    assert await catalog.hot(VALUE, name="later9") == [("x",)]
    assert not first.done()
    disk.through.release()
    await first
    await disk.wait()
    assert not any(call.done() for call in later)
    disk.through.release()
    await asyncio.gather(*later)
    assert disk.count == 2


async def test_on_a_slow_disk_what_is_committed_meanwhile_does_not_wait_for_the_sync_before(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5, C6: several syncs run at once; when one fails, none that was under way is believed."""
    monkeypatch.setattr(writer, "SLOW_SYNC_S", 0.0)
    await catalog.write(set_setting, "slow", "x")
    disk = HeldSync(monkeypatch)
    first = asyncio.ensure_future(catalog.write(set_setting, "first", "x"))
    await disk.wait()
    second = asyncio.ensure_future(catalog.write(set_setting, "second", "x"))
    await disk.wait()
    assert disk.count == 2
    assert not first.done()
    assert not second.done()
    disk.error = OSError(errno.EIO, "the disk is gone")
    disk.fails_once = True
    disk.through.release()
    done, (other,) = await asyncio.wait([first, second], return_when=asyncio.FIRST_COMPLETED)
    with pytest.raises(CatalogBroken):
        await done.pop()
    disk.through.release()
    with pytest.raises(CatalogBroken):
        await other


async def test_a_durable_call_that_changes_nothing_waits_for_the_disk_too(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C5: it may have seen what another process has committed and not yet synced."""
    disk = HeldSync(monkeypatch)
    call = asyncio.ensure_future(catalog.write(get_setting, "nothing"))
    await disk.wait()
    assert not call.done()
    disk.through.release()
    assert await call is None


async def test_a_failed_sync_ends_writing_in_this_process(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C6: all that wait for the sync are told that the outcome is unknown; it is never tried again."""
    told: list[str] = []
    catalog = open_catalog(sqlite_url, on_broken=told.append)
    disk = HeldSync(monkeypatch)
    disk.error = OSError(errno.EIO, os.strerror(errno.EIO))
    first = asyncio.ensure_future(catalog.write(set_setting, "first", "x"))
    await disk.wait()
    second = asyncio.ensure_future(catalog.write(set_setting, "second", "x"))
    await asyncio.sleep(0)
    await catalog.write(set_setting, "relaxed", "x", durable=False)
    disk.through.release()
    failures = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(failure) for failure in failures] == [CatalogBroken, CatalogBroken]
    assert all(getattr(failure, "outcome_unknown", False) for failure in failures)
    with pytest.raises(CatalogBroken):
        await catalog.write(set_setting, "third", "x")
    assert disk.count == 1
    assert told == [catalog.broken]
    await catalog.close()


async def test_a_log_that_was_taken_away_is_noticed(catalog: SqliteCatalog) -> None:
    """C6: commits to a file that no path leads to would be lost."""
    await catalog.write(set_setting, "a", "b")
    Path(f"{catalog.path}-wal").rename(f"{catalog.path}-taken")
    with pytest.raises(CatalogBroken, match="is not there"):
        await catalog.write(set_setting, "a", "c")
    Path(f"{catalog.path}-taken").rename(f"{catalog.path}-wal")


def thread_of(_: Connection) -> str:
    return threading.current_thread().name


async def test_brief_calls_run_on_the_event_loop_while_it_can_be_at_once(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = threading.current_thread().name
    monkeypatch.setattr("entrepot.server.db.writer.TOO_LONG_S", 60.0)
    calls = [catalog.write(thread_of, durable=False, brief=True) for _ in range(3)]
    assert await asyncio.gather(*calls) == [here] * 3
    assert await catalog.write(thread_of, brief=True) == here
    assert await catalog.write(thread_of) == "catalog-writer"
    monkeypatch.setattr("entrepot.server.db.writer.TOO_LONG_S", -1.0)
    monkeypatch.setattr("entrepot.server.db.writer.AWAY", 1_000_000_000)
    assert await catalog.write(thread_of, brief=True) == here
    assert await catalog.write(thread_of, brief=True) == "catalog-writer"


async def test_a_brief_call_never_waits_for_another_process_on_the_event_loop(
    catalog: SqliteCatalog,
) -> None:
    other = WriterLock(catalog.path)
    with other.held():
        call = asyncio.ensure_future(catalog.write(thread_of, brief=True))
        await asyncio.sleep(0)
        while catalog._writer._ready:  # until it is given up and left to the thread
            await asyncio.sleep(0.001)
        assert not call.done()
    assert await call == "catalog-writer"
    other.close()


@pytest.mark.parametrize("brief", [True, False])
async def test_changes_that_are_held_back_wait_and_are_then_refused(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch, brief: bool
) -> None:
    """Reads go on; a refusal says when to come back."""
    await catalog.write(set_setting, "n", "1")
    other = WriterLock(catalog.path)
    with other.all_held_back():
        waiting = asyncio.ensure_future(catalog.write(set_setting, "n", "2", brief=brief))
        await asyncio.sleep(0)
        assert await catalog.hot(VALUE, name="n") == [("1",)]
        assert not waiting.done()
    await waiting
    monkeypatch.setattr("entrepot.server.db.writerlock.PATIENCE_S", 0.0)
    with other.all_held_back():
        with pytest.raises(CatalogUnavailable, match="held back") as refused:
            await catalog.write(set_setting, "n", "3", brief=brief)
        assert refused.value.retry_after_s
        assert await catalog.hot(VALUE, name="n") == [("2",)]
    await catalog.write(set_setting, "n", "4")
    other.close()


async def test_brief_calls_fail_alone(catalog: SqliteCatalog) -> None:
    def refuse(_: Connection) -> None:
        raise ValueError("no")

    calls = [
        catalog.write(set_setting, "before", "x", brief=True),
        catalog.write(refuse, brief=True),
        catalog.write(set_setting, "after", "x", brief=True),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [type(None), ValueError, type(None)]
    assert await catalog.hot(VALUE, name="after") == [("x",)]


async def test_the_log_starts_over_again_and_again(catalog: SqliteCatalog) -> None:
    """Whatever is committed, and wherever, the log does not grow for ever."""
    log = Path(f"{catalog.path}-wal")
    for number in range(3 * CHECKPOINT_CALLS):
        await catalog.write(set_setting, "n", f"{number}" * 1000, durable=False, brief=True)
    for number in range(3):
        await catalog.write(set_setting, "big", f"{number}" * CHECKPOINT_BYTES)
    await catalog.write(set_setting, "n", "the end")
    await catalog.write(set_setting, "n", "the end")
    assert log.stat().st_size < 3 * CHECKPOINT_BYTES


_ONE_WRITE = """
import asyncio, os, sys
from entrepot.server.db import open_catalog
from entrepot.server.db.settings import set_setting

async def main():
    catalog = open_catalog(sys.argv[1])
    await catalog.write(set_setting, "warm", "up")
    os.write(1, b"before")
    await catalog.write(set_setting, "a", "b")
    os.write(1, b"answered")
    os._exit(0)

asyncio.run(main())
"""


def test_the_kernel_is_asked_to_sync_the_log_before_the_answer(sqlite_url: str, tmp_path: Path) -> None:
    """C5: as the system calls of a real process have it."""
    trace = tmp_path / "trace"
    argv = [require_program("strace"), "-f", "-y", "-o", str(trace)]
    argv += ["-e", "trace=pwrite64,fdatasync,fsync,write", sys.executable, "-c", _ONE_WRITE, sqlite_url]
    subprocess.run(argv, check=True, capture_output=True, timeout=120)
    calls = trace.read_text().splitlines()
    before = next(n for n, call in enumerate(calls) if '"before"' in call)
    after = next(n for n, call in enumerate(calls) if '"answered"' in call)
    between = [call for call in calls[before:after] if "-wal>" in call]
    assert any("pwrite64(" in call for call in between)
    assert "fdatasync(" in between[-1]
    assert "unfinished" not in between[-1] or any("fdatasync resumed" in call for call in calls[before:after])


async def test_a_failed_commit_fails_the_batch(
    catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, fail = Writer._commit, [True]

    def commit(raw: sqlite3.Connection) -> None:
        if fail:
            fail.clear()
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode, error.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
            raise error
        real(raw)

    monkeypatch.setattr(Writer, "_commit", staticmethod(commit))
    with pytest.raises(CatalogFull):
        await catalog.write(set_setting, "a", "b")
    assert await catalog.hot(VALUE, name="a") == []
    await catalog.write(set_setting, "a", "c")
    assert await catalog.hot(VALUE, name="a") == [("c",)]


async def test_a_busy_hot_read_waits_in_a_thread(catalog: SqliteCatalog) -> None:
    await catalog.write(set_setting, "a", "b")

    class Busy:
        def execute(self, *_: object) -> None:
            error = sqlite3.OperationalError("database is locked")
            error.sqlite_errorcode = sqlite3.SQLITE_BUSY_RECOVERY
            raise error

        def close(self) -> None:
            pass

    own, catalog._hot = catalog._hot, Busy()  # type: ignore[assignment]
    assert await catalog.hot(VALUE, name="a") == [("b",)]
    own.close()


_WRITES = """
import asyncio, sys
from entrepot.server.db import open_catalog
from entrepot.server.db.settings import get_setting, set_setting

def count(connection):
    set_setting(connection, "n", str(int(get_setting(connection, "n") or "0") + 1))

async def main():
    catalog = open_catalog(sys.argv[1])
    await asyncio.gather(*(catalog.write(count, durable=i % 2 == 0) for i in range(60)))
    await catalog.close()

asyncio.run(main())
"""


async def test_processes_write_side_by_side_while_one_reads_for_long(
    catalog: SqliteCatalog, sqlite_url: str
) -> None:
    """B1: a long reader and several writing processes; no `database is locked`, no lost change."""
    reader = sqlite3.connect(path_of(sqlite_url), isolation_level=None)
    reader.execute("begin")
    reader.execute("select count(*) from setting").fetchall()
    writers = [
        subprocess.Popen([sys.executable, "-c", _WRITES, sqlite_url], stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    errors = await asyncio.gather(*(asyncio.to_thread(writer.communicate, timeout=120) for writer in writers))
    assert [writer.returncode for writer in writers] == [0, 0, 0], errors
    assert await catalog.hot(VALUE, name="n") == [("180",)]
    reader.close()


async def test_leases_survive_a_clock_that_is_set(
    sqlite_url: str, catalog: SqliteCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """G7: the wall clock jumps by a day; a process that starts then measures leases as the others do."""
    import time

    real = time.time_ns
    monkeypatch.setattr("entrepot.server.db.clock.time.time_ns", lambda: real() + 86_400 * 10**9)
    later = open_catalog(sqlite_url)
    assert abs(later.clock.steady() - catalog.clock.steady()) < 5_000_000
    assert later.clock.now() - later.clock.steady() > 86_000 * 1_000_000
    await later.close()


async def test_a_new_boot_gets_a_new_anchor(sqlite_url: str, catalog: SqliteCatalog) -> None:
    await catalog.write(set_setting, "clock_anchor", "another-boot 12345")
    later = open_catalog(sqlite_url)
    assert abs(later.clock.steady() - later.clock.now()) < 60_000_000
    assert (await later.read(get_setting, "clock_anchor") or "").startswith(boot_id())
    await later.close()


async def test_closing_finishes_what_is_queued(sqlite_url: str) -> None:
    catalog = open_catalog(sqlite_url)
    calls = [asyncio.ensure_future(catalog.write(set_setting, f"n{i}", "x")) for i in range(50)]
    await asyncio.sleep(0)
    await catalog.close()
    await asyncio.gather(*calls)
    with pytest.raises(CatalogUnavailable):
        await catalog.write(set_setting, "late", "x")
