"""What writes to SQLite in one process: group commit.

1. Take what is waiting (at most `BATCH`).
2. `flock(<database>.writer)`: processes queue fairly in the kernel instead of polling SQLite's lock.
3. BEGIN IMMEDIATE; each function in a SAVEPOINT of its own, so that one's failure is only its own (a single
   one needs none).
4. One COMMIT for all, which does not wait for the disk; both locks are free again. Calls that need not be
   durable are answered.
5. Another thread syncs the log for every transaction committed so far, then answers the durable ones. When
   the disk is slow more threads do the same for what is committed meanwhile.

So nobody's transaction waits for another's disk, and the slower the disk is, the more of them share a sync.

Steps 1 to 4 are a thread's, the writer's. Brief functions whose turn it could be at once, because nobody
holds either lock, are run by the event loop itself: that takes a fraction of a millisecond, less than the
way to a thread and back. A transaction that takes longer than `TOO_LONG_S` there (a disk so busy that even
its cache has to be waited for) sends all of them to the thread for a while. So does a full log: it is
copied into the database by the thread, since that waits for the disk.

An error that ends the transaction itself (a full disk, an I/O error) fails the function that met it; the
others are run again. When it was a full disk the log is copied into the database at once: started over, it
has room for the next ones. An error of COMMIT fails the batch. An error of the sync fails all that wait for
it, and this process writes no more: the kernel tells of lost bytes once.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from entrepot.server.db.calls import Call, Committed, answer, settle, take_committed
from entrepot.server.db.errors import (
    CatalogBroken,
    CatalogDamaged,
    CatalogFull,
    CatalogUnavailable,
    RetryTransaction,
)
from entrepot.server.db.failures import translated
from entrepot.server.db.walfile import SYNCS_AT_ONCE, WalFile
from entrepot.server.db.writerlock import PATIENCE_S, WriterLock

__all__ = ["BATCH", "QUEUE_LIMIT", "Writer"]

BATCH: Final = 128
"""Most functions in one transaction: what a waiting reader of the answer may have to sit through."""
QUEUE_LIMIT: Final = 10_000
"""Calls waiting for the disk before new ones are refused."""
RUNS: Final = 3
"""Runs of one function whose batch was ended by another's error."""
TOO_LONG_S: Final = 0.05
"""A transaction on the event loop that takes longer sends the next ones to the thread."""
AWAY: Final = 20
"""For so many times as long: requests wait for at most a twentieth of their time."""
TRY_AGAIN_S: Final = 0.001
TRIES: Final = 5
"""How often the event loop asks for the lock of another process before the thread waits for it."""
SLOW_SYNC_S: Final = 0.003
"""Where a sync takes longer, on average, the next ones need not wait for each other."""
SYNCS_REMEMBERED: Final = 16
"""How many syncs the average goes back, about."""
CHECKPOINT_CALLS: Final = 256
"""Functions committed between checkpoints: each changes about ten pages, and SQLite's measure is 1 000."""
CHECKPOINT_BYTES: Final = 16 * 1024 * 1024
"""A log that has grown by this is copied, whatever made it grow."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Undo:
    """Statements around one function that undo it alone."""

    before: tuple[str, ...]
    failed: tuple[str, ...]
    done: tuple[str, ...]


_UNDO_ONE: Final = _Undo(("SAVEPOINT call",), ("ROLLBACK TO call", "RELEASE call"), ("RELEASE call",))
_UNDO_ALL: Final = _Undo((), ("ROLLBACK", "BEGIN IMMEDIATE"), ())
"""For a function that is alone in its transaction; three calls less, each a turn at Python's lock."""


class _Checkpoint:
    """In the queue: copy the log into the database."""


class Writer:
    """Runs transaction functions one batch after the other.

    `connect` opens a connection whose COMMIT neither syncs the log nor checkpoints, and that waits for no
    lock; whoever holds `_turn` uses it.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        lock: WriterLock,
        wal: WalFile,
        *,
        on_broken: Callable[[str], None] | None = None,
        on_damaged: Callable[[str], None] | None = None,
    ) -> None:
        self._connect = connect
        self._lock = lock
        self._wal = wal
        self._on_broken = on_broken
        self._on_damaged = on_damaged
        self._queue: queue.SimpleQueue[Call | _Checkpoint | None] = queue.SimpleQueue()
        self._turn = threading.Lock()
        self._thread_waits = False
        self._ready: list[Call] = []
        self._home: asyncio.AbstractEventLoop | None = None
        self._in_thread_until = 0.0
        self._tries = 0
        self._since_checkpoint = 0
        self._size_then = 0
        self._checkpoint_due = False
        self._committed = Committed()
        self._committed_meanwhile = Committed()
        self._syncing = False
        self._sync_s = 0.0
        self._connection: Connection | None = None
        self._closing = False
        self.broken: str | None = None
        self._thread = threading.Thread(target=self._run, name="catalog-writer", daemon=True)
        self._syncers = [
            threading.Thread(
                target=self._run_syncs, args=(number,), name=f"catalog-sync-{number}", daemon=True
            )
            for number in range(SYNCS_AT_ONCE)
        ]
        self._thread.start()
        for syncer in self._syncers:
            syncer.start()

    async def submit(
        self, fn: Callable[..., Any], args: tuple[Any, ...], *, durable: bool, brief: bool = False
    ) -> Any:
        """Queue a function; its result when its transaction is committed, and with `durable` on the disk.

        `brief` functions may be run here, on the event loop.

        Raises CatalogBroken, CatalogUnavailable.
        """
        if self.broken is not None:
            raise CatalogBroken(self.broken)
        if self._closing:
            raise CatalogUnavailable("the database is being closed", retry_after_s=1)
        unsynced = self._committed.qsize() + self._committed_meanwhile.qsize()
        if self._queue.qsize() + unsynced >= QUEUE_LIMIT:
            raise CatalogUnavailable("too many changes wait for the disk; try again soon", retry_after_s=5)
        loop = asyncio.get_running_loop()
        call = Call(fn, args, durable, loop, loop.create_future())
        if brief and self._is_home(loop):
            if not self._ready:
                loop.call_soon(self._run_ready)  # together with what else asks in this turn of the loop
            self._ready.append(call)
        else:
            self._queue.put(call)
        return await call.future

    async def close(self) -> None:
        """Finish what is queued, then end the threads."""
        if not self._closing:
            self._closing = True
            self._leave_to_thread()
            self._queue.put(None)
        await asyncio.to_thread(self._thread.join)

    # On the event loop

    def _is_home(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether this is the loop that runs transactions: the first that asked."""
        if self._home is None:
            self._home = loop
        return self._home is loop

    def _run_ready(self) -> None:
        """Run what is ready if it can be done now, else leave it to the thread."""
        if not self._ready:
            return
        began = time.monotonic()
        busy = self._thread_waits or not self._queue.empty() or len(self._ready) > BATCH
        if busy or began < self._in_thread_until or not self._turn.acquire(blocking=False):
            self._leave_to_thread()
            return
        try:
            if not self._lock.take():
                self._come_back()
                return
            try:
                self._tries = 0
                raw = self._open()
                if not _begun(raw, last=False):
                    self._leave_to_thread()
                    return
                ready, self._ready = self._ready, []
                self._process(ready, self._in_transaction, settle)
            finally:
                self._lock.give_back()
        except Exception as error:  # noqa: BLE001 - opening the connection, before anything was run
            failure = self._failure(error)
            ready, self._ready = self._ready, []
            for call in ready:
                call.error = failure
            settle(ready)
        finally:
            self._turn.release()
        ended = time.monotonic()
        if ended - began > TOO_LONG_S:
            self._in_thread_until = ended + AWAY * (ended - began)

    def _come_back(self) -> None:
        """Another process writes, most likely for less long than a thread needs to wake up."""
        self._tries += 1
        if self._tries > TRIES or self._home is None:
            self._tries = 0
            self._leave_to_thread()
        else:
            self._home.call_later(TRY_AGAIN_S, self._run_ready)

    def _leave_to_thread(self) -> None:
        ready, self._ready = self._ready, []
        for call in ready:
            self._queue.put(call)

    # In the threads

    def _run(self) -> None:
        try:
            while (batch := self._take()) is not None:
                if batch:
                    self._process(batch, self._locked_transaction, answer)
                else:
                    self._checkpoint()
        finally:
            for committed in (self._committed, self._committed_meanwhile):
                committed.put(None)
            for syncer in self._syncers:
                syncer.join()
            # Only now: the last connection to go takes the log with it.
            if self._connection is not None:
                self._connection.close()
            self._wal.close()
            self._lock.close()

    def _run_syncs(self, number: int) -> None:
        committed = self._committed_meanwhile if number else self._committed
        while (waiting := take_committed(committed)) is not None:
            began = time.monotonic()
            if number == 0:
                self._syncing = True
            try:
                if self.broken is not None:
                    raise CatalogBroken(self.broken)
                self._wal.sync(number)
                if self.broken is not None:
                    raise CatalogBroken(self.broken)  # by the sync of something before
            except BaseException as error:  # noqa: BLE001 - each caller gets it; the thread must go on
                failure = self._failure(_unsynced(error))
                for call in waiting:
                    call.error = failure
            if number == 0:
                self._syncing = False
            self._sync_s += (time.monotonic() - began - self._sync_s) / SYNCS_REMEMBERED
            answer(waiting)

    def _take(self) -> list[Call] | None:
        """What waits; nothing at all means that a checkpoint is due, None that it is over."""
        first = self._queue.get()
        if first is None:
            return None
        if isinstance(first, _Checkpoint):
            return []
        batch = [first]
        while len(batch) < BATCH:
            try:
                call = self._queue.get_nowait()
            except queue.Empty:
                break
            if call is None or isinstance(call, _Checkpoint):
                self._queue.put(call)  # after this batch; nothing comes behind the end
                break
            batch.append(call)
        return batch

    def _checkpoint(self) -> None:
        """Copy the log into the database, so that the next transaction may start it over; unless whoever
        copies it elsewhere does that (see logkeeper).
        """
        with self._threads_turn():
            try:
                with self._lock.held():
                    if not self._lock.is_log_kept():
                        self._open().execute("PRAGMA wal_checkpoint(PASSIVE)")
            except Exception as error:  # noqa: BLE001 - nobody waits for it; it is due again with the next
                self._failure(error)
            else:
                self._since_checkpoint = 0
                self._size_then = self._wal.size
            self._checkpoint_due = False

    @contextmanager
    def _threads_turn(self) -> Iterator[None]:
        """The thread's turn; the event loop, which could always be quicker, lets it go first."""
        self._thread_waits = True
        with self._turn:
            self._thread_waits = False
            yield

    # Wherever it is this process's turn

    def _process(
        self,
        batch: list[Call],
        transaction: Callable[[list[Call]], list[Call]],
        tell: Callable[[list[Call]], None],
    ) -> None:
        while batch:
            try:
                again = transaction(batch)
            except BaseException as error:  # noqa: BLE001 - each caller gets it; the thread must go on
                failure = self._failure(error)
                for call in batch:
                    call.error = failure
                again = []
            self._pass_on([call for call in batch if call not in again] if again else batch, tell)
            batch = again

    def _pass_on(self, calls: list[Call], tell: Callable[[list[Call]], None]) -> None:
        """Answer what need not wait for the disk; the rest is the sync thread's."""
        waiting = [call for call in calls if call.durable and call.error is None]
        if len(waiting) < len(calls):
            tell([call for call in calls if not call.durable or call.error is not None])
        if waiting:
            meanwhile = self._syncing and self._sync_s > SLOW_SYNC_S
            (self._committed_meanwhile if meanwhile else self._committed).put(waiting)

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection.connection.dbapi_connection  # type: ignore[return-value]  # the driver's own

    def _locked_transaction(self, batch: list[Call]) -> list[Call]:
        with self._threads_turn(), self._lock.held():
            raw = self._open()
            until = time.monotonic() + PATIENCE_S
            while not _begun(raw, last=time.monotonic() > until):
                time.sleep(0.005)
            return self._in_transaction(batch)

    def _in_transaction(self, batch: list[Call]) -> list[Call]:
        """Run and commit a batch; returns the calls to run again because the transaction was ended by one."""
        raw, connection = self._open(), self._connection
        assert connection is not None
        try:
            if self.broken is not None:
                raise CatalogBroken(self.broken)
            if not raw.in_transaction:
                _begun(raw, last=True)  # once more, after one of the batch has ended the first
            undo = _UNDO_ALL if len(batch) == 1 else _UNDO_ONE
            for position, call in enumerate(batch):
                if not self._run_one(call, connection, raw, undo):
                    return self._others(batch, position)
            self._wal.follow()
            self._commit(raw)
        finally:
            connection.rollback()
            if raw.in_transaction:
                raw.rollback()
        self._note(len(batch))
        return []

    def _note(self, calls: int) -> None:
        """Have the thread make a checkpoint once enough has been committed."""
        self._since_checkpoint += calls
        self._size_then = min(self._size_then, self._wal.size)
        grown = self._wal.size - self._size_then
        if self._since_checkpoint >= CHECKPOINT_CALLS or grown >= CHECKPOINT_BYTES:
            self._ask_for_checkpoint()

    def _ask_for_checkpoint(self) -> None:
        if not self._checkpoint_due:
            self._checkpoint_due = True
            self._queue.put(_Checkpoint())

    @staticmethod
    def _commit(raw: sqlite3.Connection) -> None:
        raw.execute("COMMIT")

    def _run_one(self, call: Call, connection: Connection, raw: sqlite3.Connection, undo: _Undo) -> bool:
        """Run one function so that it can be undone; False when the whole transaction is gone."""
        call.result = call.error = None
        call.runs += 1
        if call.future.cancelled():
            return True
        for _ in range(RUNS):
            for statement in undo.before:
                raw.execute(statement)
            try:
                call.result = call.fn(connection, *call.args)
            except BaseException as error:  # noqa: BLE001 - handed to the caller
                call.error = self._failure(error)
                if not raw.in_transaction:
                    return False
                for statement in undo.failed:
                    raw.execute(statement)
                if not isinstance(error, RetryTransaction):
                    return True
            else:
                return self._keep(call, raw, undo)
        return True

    @staticmethod
    def _keep(call: Call, raw: sqlite3.Connection, undo: _Undo) -> bool:
        if not raw.in_transaction:
            call.error = RuntimeError(f"{call.fn!r} ended the transaction it runs in")
            return False
        for statement in undo.done:
            raw.execute(statement)
        call.error = None
        return True

    def _others(self, batch: list[Call], failed: int) -> list[Call]:
        again = []
        for position, call in enumerate(batch):
            if position == failed:
                continue
            if call.runs >= RUNS:
                call.error = batch[failed].error
            else:
                again.append(call)
        return again

    def _failure(self, error: BaseException) -> BaseException:
        """The error for the caller; remembers when this process must stop writing."""
        failure = translated(error)
        if isinstance(failure, CatalogBroken) and self.broken is None:
            self.broken = failure.message
            _log.critical("catalog-broken", extra={"reason": failure.message})
            if self._on_broken is not None:
                self._on_broken(failure.message)
        if isinstance(failure, CatalogDamaged) and self._on_damaged is not None:
            self._on_damaged(failure.reason)
        if isinstance(failure, CatalogFull):
            self._ask_for_checkpoint()
        return failure


def _begun(raw: sqlite3.Connection, *, last: bool = True) -> bool:
    """Begin a transaction. False when someone writes without the flock, unless this is the `last` try."""
    try:
        raw.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError as error:
        if last or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


def _unsynced(error: BaseException) -> BaseException:
    """What callers are told when the sync of their transaction failed: it is visible, and may not last."""
    reason = (
        error.message if isinstance(error, CatalogBroken) else f"the disk failed under the database: {error}"
    )
    broken = CatalogBroken(reason, hint="check the disk", retry_after_s=5)
    broken.outcome_unknown = True
    broken.__cause__ = error
    return broken
