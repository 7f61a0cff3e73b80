"""The process that has the SQLite catalog copied all the time, and knows how far the copy is.

It runs Litestream, asks it every second to bring the copy up to date, and notes the time of each question
that was answered with yes: everything acknowledged before is in the copy then. It ends when Litestream does;
the supervisor starts both again.

Litestream always starts on an empty log, and while it runs nobody else copies the log into the database. It
goes on where it was when it finds its last frame still in the log, and that proves nothing: the rest of the
log may have been copied into the database meanwhile and the log started over, with so little that the frame
is still there. What was between would be in no copy, and nothing would tell. In an emptied log its frame
can't be, so it begins with a whole copy; and what it copies into the database itself it has read before.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import http.client
import json
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.backup.copy_claim import claim_copy
from entrepot.server.backup.litestream import STATE_FOLDER, CatalogCopy, litestream_program
from entrepot.server.config.model import Config
from entrepot.server.db.copynote import CopyNote, CopyState
from entrepot.server.db.logkeeper import keep_log
from entrepot.server.db.settings import STORE_ID
from entrepot.server.process.pulse import Pulse

__all__ = ["run_catalog_copy"]

log = get_log(__name__)

ASK_EVERY_S: Final = 1.0
ANSWER_S: Final = 20
CLAIM_AGAIN_S: Final = 5.0
CHECK_EVERY_S: Final = 600.0
"""A restore of a large copy has many files to look for; the first check is at the start."""
LAST_ANSWER_S: Final = 10
"""At the end: how long the last transactions may take to be copied."""
END_S: Final = 15.0
_PR_SET_PDEATHSIG: Final = 1


def run_catalog_copy(config: Config, database: Path, lifeline: int, scratch: Path, pulse: Pulse) -> int:
    """Copy until SIGTERM, until the supervisor is gone, or until Litestream ends."""
    return asyncio.run(_copy(config, database, lifeline, scratch, pulse))


async def _copy(config: Config, database: Path, lifeline: int, scratch: Path, pulse: Pulse) -> int:
    copy = CatalogCopy.of(config)
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: None)

    hurry = asyncio.Event()

    def orphaned() -> None:
        """Another server may be starting on the same catalog, which waits for this one to be gone."""
        loop.remove_reader(lifeline)
        hurry.set()
        stop.set()

    loop.add_reader(lifeline, orphaned)
    beating = asyncio.create_task(pulse.run())
    settings, control = scratch / "litestream.conf", scratch / "litestream.sock"
    said, watch = _Said(), _Watch(copy, database, settings, control)
    kept = contextlib.ExitStack()  # until the end of this process, which is Litestream's too
    while not stop.is_set():
        try:
            await claim_copy(copy.place, config, await asyncio.to_thread(_store_id, database))
            await asyncio.to_thread(kept.enter_context, keep_log(database))
            break
        except EntrepotError as error:
            refused = error
        if watch.tell(refused.message):
            log.error("catalog is not copied", reason=refused.message, hint=refused.hint)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), CLAIM_AGAIN_S)
    if stop.is_set():
        return 0
    settings.write_text(copy.settings(database, socket=control))
    running = await asyncio.create_subprocess_exec(
        str(litestream_program()),
        "replicate",
        "-no-expand-env",
        "-config",
        str(settings),
        env=copy.whole_environment(),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=_end_with_parent(),
    )
    telling = asyncio.create_task(_tell(running, said))
    asking = asyncio.create_task(watch.run(said))
    stopped, ended = asyncio.create_task(stop.wait()), asyncio.create_task(running.wait())
    await asyncio.wait({stopped, ended, asking}, return_when=asyncio.FIRST_COMPLETED)
    begin_anew = asking.done()
    asking.cancel()
    await asyncio.wait({asking})
    if hurry.is_set() and running.returncode is None:
        running.kill()
    elif stop.is_set() and running.returncode is None:
        await watch.ask(said, timeout_s=LAST_ANSWER_S)
    await _end(running)
    for task in (beating, telling, stopped, ended):
        task.cancel()
    if begin_anew and not stop.is_set():
        # Litestream numbers anew, behind what the place has.
        shutil.rmtree(database.with_name(STATE_FOLDER.format(database.name)), ignore_errors=True)
        return 1
    if not stop.is_set():
        log.error("litestream ended", code=running.returncode, reason=said.last)
        return 1
    return 0


class _Said:
    """What Litestream last complained of."""

    def __init__(self) -> None:
        self.last = ""


class _Watch:
    """Asks how far the copy is."""

    def __init__(self, copy: CatalogCopy, database: Path, settings: Path, control: Path) -> None:
        self._copy = copy
        self._place = copy.place
        self._database = database
        self._settings = settings
        self._control = control
        self._note = CopyNote(database)
        self._until = self._note.read(copy.place).until
        self._check_at = 0.0
        self._problem = ""
        self._is_useless = False

    async def run(self, said: _Said) -> None:
        """Returns when the copy could not be restored as it is."""
        while not self._is_useless:
            await self.ask(said, timeout_s=ANSWER_S)
            await asyncio.sleep(ASK_EVERY_S)

    def tell(self, problem: str) -> bool:
        """Note why the copy is no further; whether that is news."""
        is_news = problem != self._problem
        self._problem = problem
        with contextlib.suppress(OSError):  # a full disk; the next one tells
            self._note.write(CopyState(self._place, self._until, problem))
        return is_news

    async def ask(self, said: _Said, *, timeout_s: int) -> None:
        """Have everything copied that is committed by now, and note it."""
        began = time.time()
        try:
            answer = await asyncio.to_thread(_sync, self._control, self._database, timeout_s)
        except (OSError, ValueError, http.client.HTTPException) as error:
            problem = said.last or f"Litestream does not answer: {error}"
        else:
            problem = str(answer.get("error") or "")
            # 0: it has just begun, and knows of nothing yet.
            if not problem and (not answer.get("txid") or answer["txid"] != answer.get("replicated_txid")):
                problem = said.last or "the place does not take what is new"
            if not problem:
                problem = await self._restorable(int(answer["txid"]))
            if not problem:
                self._until, said.last = began, ""
        self.tell(problem)

    async def _restorable(self, txid: int) -> str:
        """What Litestream says it has copied is looked for now and then, as a restore would. Why it can't be
        restored; empty: it can.
        """
        if time.monotonic() < self._check_at:
            return ""
        try:
            last = await asyncio.to_thread(self._copy.restorable, self._database, self._settings)
            problem = "" if last >= txid else f"a restore would end at transaction {last} of {txid}"
        except (EntrepotError, OSError, subprocess.SubprocessError) as error:
            problem = str(error)
        if problem:
            log.error("the copy of the catalog is begun anew", reason=problem)
            self._is_useless = True
        else:
            self._check_at = time.monotonic() + CHECK_EVERY_S
        return problem


def _store_id(database: Path) -> str:
    """As the catalog has it; it was bound to its store before anybody serves."""
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(database))}?mode=ro", uri=True)) as connection:
        row = connection.execute("SELECT value FROM setting WHERE name = ?", (STORE_ID,)).fetchone()
    return "" if row is None else str(row[0])


def _sync(control: Path, database: Path, timeout_s: int) -> dict[str, Any]:
    """Litestream's own `sync -wait`, over its socket."""
    connection = _SocketConnection(control, timeout_s + 5)
    try:
        body = json.dumps({"path": str(database), "wait": True, "timeout": timeout_s})
        connection.request("POST", "/sync", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        raw = answer.read(1 << 16)
        said = json.loads(raw) if raw else {}
        if answer.status != 200 and not said.get("error"):
            said["error"] = f"Litestream answers {answer.status}"
        return dict(said)
    finally:
        connection.close()


class _SocketConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("litestream", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


async def _tell(running: asyncio.subprocess.Process, said: _Said) -> None:
    """Its complaints, in our log."""
    assert running.stderr is not None
    while line := await running.stderr.readline():
        try:
            entry = json.loads(line)
            level, message = str(entry.get("level", "")).upper(), str(entry.get("msg", ""))
        except (ValueError, AttributeError):
            level, message, entry = "ERROR", line.decode(errors="replace").strip(), {}
        if level in {"WARN", "WARNING", "ERROR"} and message:
            said.last = f"{message}: {entry['error']}" if entry.get("error") else message
            log.warning("litestream", reason=said.last)


async def _end(running: asyncio.subprocess.Process) -> None:
    if running.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        running.terminate()
    try:
        await asyncio.wait_for(running.wait(), END_S)
    except TimeoutError:
        running.kill()
        await running.wait()


def _end_with_parent() -> Callable[[], None]:
    """For the new process: the kernel kills it when this one is gone, however that ends."""
    libc = ctypes.CDLL(None)

    def call() -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)

    return call
