"""`entrepot serve`: a small process that starts the others, replaces those that die or hang, and stops all.

It holds the listening sockets, so that no connection is lost while a worker is replaced, and does nothing
else: it sleeps in `select` until a signal, an ended child, a changed certificate or the time to feel its
children's pulse wakes it. It runs no event loop and no threads, so that it can fork at any time.

Stopping, on SIGTERM:

1. `/readyz` says 503 in every worker (SIGUSR1); requests are still answered for `drain_delay`.
2. Workers close their listeners and finish what is in flight (SIGTERM), for at most `drain_timeout`.
3. Whoever is still there is killed.

Another signal goes on to the next step at once; Ctrl-C begins with step 2.

One long class: starting, replacing, reloading and stopping are states of one loop over the same children.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from entrepot.backoff import backoff_s
from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.config.addresses import Address
from entrepot.server.config.exposure import check_exposure, has_tls
from entrepot.server.config.model import Config
from entrepot.server.process.data_directory import StartFailed, hold_data_directory, make_data_directory
from entrepot.server.process.granian_host import TlsFiles
from entrepot.server.process.listeners import bind, require_free
from entrepot.server.process.pulse import Pulse, Silence
from entrepot.server.process.request_process import (
    ADMIN,
    METRICS,
    READY,
    REGISTRY,
    Listener,
    RequestPlan,
    run_request_process,
)
from entrepot.server.process.tls import CertificateInvalid, tls_files, trust_instructions
from entrepot.server.telemetry.metrics import retire

log = get_log(__name__)

START_TIMEOUT_S: Final = 120.0
CERTIFICATE_CHECK_S: Final = 5.0
FIRST_BACKOFF_S: Final = 0.2
LONGEST_BACKOFF_S: Final = 10.0
STEADY_S: Final = 30.0
"""A process that ran for so long is replaced at once when it dies."""
KILL_GRACE_S: Final = 5.0
JOBS = "jobs"
COPY = "copy"
COPY_ENDS_S: Final = 30.0
"""How long the catalog's copy may take to hold the last transactions, when the others have ended."""


@dataclass(slots=True)
class ChildProcess:
    """One process: worker number `slot`, the jobs process, or the one that copies the catalog."""

    role: str
    slot: int
    pid: int
    started_at: float
    report: int
    pulse: Pulse
    silence: Silence
    ready: bool = False
    retiring: bool = False
    """Its successor runs already."""
    given_up: bool = False
    """It hung and was killed."""
    ended: str = ""
    """How it ended: `exit 1`, `SIGKILL`."""


@dataclass(slots=True)
class Slot:
    """A place for a process, filled again when it falls empty."""

    role: str
    number: int
    failures: int = 0
    start_at: float = 0.0
    listeners: list[Listener] = field(default_factory=list)

    def end(self, now: float, *, lived_s: float) -> None:
        """Its process is gone: say when the next may start. At once, unless they end one after the other."""
        self.failures = 0 if lived_s > STEADY_S else self.failures + 1
        again = self.failures - 1
        self.start_at = now + backoff_s(again, first_s=FIRST_BACKOFF_S, longest_s=LONGEST_BACKOFF_S)


class Supervisor:
    """Runs until it is told to stop. `announce` gets the lines a person reads once everything is up."""

    def __init__(
        self,
        config: Config,
        *,
        prepare: Callable[[], dict[str, str]],
        run_jobs: Callable[[str, int, Path, Pulse], int] | None,
        run_copy: Callable[[int, Path, Pulse], int] | None = None,
        announce: Callable[[Sequence[str]], None],
    ) -> None:
        self._config = config
        self._prepare = prepare
        self._run_jobs = run_jobs
        self._run_copy = run_copy
        self._announce = announce
        self._children: dict[int, ChildProcess] = {}
        self._slots: list[Slot] = []
        self._addresses: dict[str, list[Address]] = {}
        self._mode = ""
        self._tls: TlsFiles | None = None
        self._tls_stamp: tuple[int, ...] = ()
        self._scratch = Path()
        self._stop_asked = 0
        self._reload_asked = False
        self._wake_read = self._wake_write = -1
        self._lifeline_read = self._lifeline_write = -1
        self._lock = -1

    def run(self) -> int:
        """Serve; returns the exit code. Raises EntrepotError when it cannot start."""
        config = self._config
        addresses = [Address.parse(text) for text in config.server.listen]
        raise_descriptor_limit()
        make_data_directory(config.server.data)
        self._lock = hold_data_directory(config.server.data)
        for wanted in self._wanted(addresses).values():
            for address in wanted:
                require_free(address)  # preparing takes seconds: who waits for them should not be told then
        self._install_signals()
        try:
            preparing = self._begin_in_child(self._prepare)
            preload()
            try:
                facts = self._result_of(preparing)
            except StartFailed:
                if self._stop_asked:  # whoever stops a group of processes stops that one too
                    return 0
                raise
            self._mode = facts["mode"]
            warnings = check_exposure(config, self._mode, addresses)
            self._tls = tls_files(config, addresses)
            self._tls_stamp = self._certificate_stamp()
            self._scratch = Path(tempfile.mkdtemp(prefix="entrepot-"))
            self._bind(addresses)
            gc.collect()
            gc.freeze()  # what is loaded by now stays shared with the children
            for slot in self._slots:
                self._start(slot)
            self._wait_until_ready()
            self._announce([*warnings, *self._lines(facts)])
            self._loop()
            return 0
        finally:
            self._end_all()
            if self._scratch != Path():
                shutil.rmtree(self._scratch, ignore_errors=True)

    # --- starting

    def _wanted(self, addresses: Sequence[Address]) -> dict[str, Sequence[Address]]:
        """By kind of listener."""
        config = self._config
        return {
            REGISTRY: addresses,
            METRICS: [Address.parse(text) for text in config.metrics.listen]
            if config.metrics.enabled
            else [],
            ADMIN: [Address.parse(text) for text in config.admin.listen] if config.admin.enabled else [],
        }

    def _bind(self, addresses: Sequence[Address]) -> None:
        config = self._config
        count = config.server.workers or min(os.cpu_count() or 1, 8)
        self._slots = [Slot("worker", number) for number in range(count)]
        for kind, wanted in self._wanted(addresses).items():
            self._addresses[kind] = []
            for address in wanted:
                sockets = bind(
                    address,
                    workers=count,
                    backlog=config.server.backlog,
                    stuck_s=config.limits.min_body_window if config.limits.min_body_rate else 0,
                )
                self._addresses[kind].append(Address(address.host, sockets[0].getsockname()[1]))
                for slot, sock in zip(self._slots, sockets, strict=True):
                    slot.listeners.append(Listener(kind, sock))
        if self._run_jobs is not None and config.server.jobs:
            self._slots.append(Slot(JOBS, 0))
        if self._run_copy is not None:
            self._slots.append(Slot(COPY, 0))

    def _start(self, slot: Slot) -> None:
        read, write = os.pipe()
        pulse = Pulse(self._config.server.hang_timeout)
        pid = self._fork(lambda: self._child(slot, write, pulse), keep=write)
        os.close(write)
        self._children[pid] = ChildProcess(
            slot.role, slot.number, pid, time.monotonic(), read, pulse, Silence(pulse.look_s)
        )

    def _child(self, slot: Slot, report: int, pulse: Pulse) -> int:
        # A listener is open for as long as anybody holds it: each process keeps its own alone.
        self._close_listeners([other for other in self._slots if other is not slot])
        if slot.role == JOBS:
            assert self._run_jobs is not None
            os.write(report, READY)
            return self._run_jobs(self._mode, self._lifeline_read, self._scratch, pulse)
        if slot.role == COPY:
            assert self._run_copy is not None
            os.write(report, READY)
            return self._run_copy(self._lifeline_read, self._scratch, pulse)
        return run_request_process(
            RequestPlan(
                config=self._config,
                mode=self._mode,
                listeners=slot.listeners,
                tls=self._tls,
                scratch=self._scratch,
                report=report,
                lifeline=self._lifeline_read,
                pulse=pulse,
            )
        )

    def _close_listeners(self, slots: Sequence[Slot]) -> None:
        for slot in slots:
            for listener in slot.listeners:
                listener.sock.close()

    def _fork(self, run: Callable[[], int], *, keep: int) -> int:
        """Run `run` in a new process and never come back from there; returns its pid here."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1):
                signal.signal(number, signal.SIG_DFL)
            # Its default would end a worker that is still starting; it waits until there is a handler.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
            # Ctrl-C reaches the whole group; only the supervisor decides what it means.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            for descriptor in (self._wake_read, self._wake_write, self._lifeline_write):
                os.close(descriptor)
            for child in self._children.values():
                if child.report != keep:
                    os.close(child.report)
            code = run()
        except EntrepotError as error:
            hint = error.hint or error.operator_hint
            sys.stderr.write(f"Error: {error.message}" + (f"\n{hint}\n" if hint else "\n"))
        except BaseException:  # noqa: BLE001 - the process ends here; its trace is all there will be
            traceback.print_exc()
        finally:
            with contextlib.suppress(OSError, ValueError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _begin_in_child(self, call: Callable[[], dict[str, str]]) -> tuple[int, int]:
        """`call()` in a process of its own: what it opens must not be inherited by the workers."""
        read, write = os.pipe()

        def run() -> int:
            os.write(write, json.dumps(call()).encode())
            return 0

        pid = self._fork(run, keep=write)
        os.close(write)
        return pid, read

    def _result_of(self, begun: tuple[int, int]) -> dict[str, str]:
        """What a child's call returned. Raises StartFailed."""
        pid, read = begun
        with os.fdopen(read, "rb") as result:
            answer = result.read()
        _, status = os.waitpid(pid, 0)
        if os.waitstatus_to_exitcode(status) != 0 or not answer:
            raise StartFailed("the registry could not be opened; the reason is above")
        facts: dict[str, str] = json.loads(answer)
        return facts

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while any(not child.ready for child in self._children.values()):
            if self._stop_asked:
                return
            if time.monotonic() > deadline:
                raise StartFailed(f"a worker was not ready after {START_TIMEOUT_S:.0f} s")
            self._sleep(deadline - time.monotonic())
            for child in self._reap():
                # A registry serves without its copy, which is behind then and says so.
                if child.ended.startswith("exit") and child.role != COPY and not self._stop_asked:
                    raise StartFailed(f"{child.role} {child.slot + 1} ended before it was ready; see above")
                self._replace_later(child)  # somebody killed it: that says nothing about the next one

    def _lines(self, facts: dict[str, str]) -> list[str]:
        scheme = "https" if has_tls(self._config) else "http"
        shown = [address.shown for address in self._addresses[REGISTRY]]
        host = self._config.server.public_url.partition("://")[2].rstrip("/") or shown[0]
        lines = [
            "entrepot serves a registry at " + ", ".join(f"{scheme}://{each}" for each in shown),
            f"  data: {facts['where']}; access: {self._mode}"
            + (" (no accounts)" if self._mode == "open" else ""),
        ]
        if "setup" in facts:
            base = self._config.server.public_url.rstrip("/") or f"{scheme}://{shown[0]}"
            lines.append(f"  first: choose the admin's password at {base}/setup?token={facts['setup']}")
        if "store" in facts:
            lines.append(f"  DEGRADED: pushes are refused, the store can't be used now: {facts['store']}")
        for kind, what in ((METRICS, "metrics"), (ADMIN, "pages and API")):
            if self._addresses[kind]:
                lines.append(f"  {what}: " + ", ".join(f"http://{a.shown}" for a in self._addresses[kind]))
        lines.append(f"  try:  docker tag IMAGE {host}/IMAGE && docker push {host}/IMAGE")
        if self._config.tls.self_signed and self._tls is not None:
            lines += trust_instructions(Path(self._tls.cert), host)
        return lines

    # --- running

    def _loop(self) -> None:
        while not self._stop_asked:
            self._sleep(self._next_wake())
            for child in self._reap():
                if not child.retiring:
                    self._replace_later(child)
            self._end_silent()
            if self._certificate_changed() or self._reload_asked:
                self._reload_asked = False
                self._renew_workers()
            now = time.monotonic()
            for slot in self._empty_slots():
                if slot.start_at <= now:
                    self._start(slot)
        self._stop()

    def _next_wake(self) -> float | None:
        waits = [slot.start_at - time.monotonic() for slot in self._empty_slots()]
        if self._tls is not None:
            waits.append(CERTIFICATE_CHECK_S)
        waits += [child.pulse.look_s for child in self._children.values() if child.pulse.timeout_s]
        return max(0.0, min(waits)) if waits else None

    def _empty_slots(self) -> list[Slot]:
        taken = {(child.role, child.slot) for child in self._children.values() if not child.retiring}
        return [slot for slot in self._slots if (slot.role, slot.number) not in taken]

    def _replace_later(self, child: ChildProcess) -> None:
        slot = next(s for s in self._slots if (s.role, s.number) == (child.role, child.slot))
        now = time.monotonic()
        slot.end(now, lived_s=now - child.started_at)
        log.warning(
            "process ended and is replaced",
            role=child.role,
            number=child.slot + 1,
            pid=child.pid,
            how=child.ended,
        )

    def _end_silent(self) -> None:
        """Kill who hangs: a signal that asks would be heard by the very loop that stands still."""
        now = time.monotonic()
        for child in self._children.values():
            timeout_s, beats = child.pulse.timeout_s, child.pulse.count
            silent_s = child.silence.look(beats, now)
            patience_s = timeout_s if beats else max(timeout_s, START_TIMEOUT_S)
            if not timeout_s or silent_s < patience_s or child.given_up:
                continue
            child.given_up = True
            log.error(
                "process does not answer and is killed",
                role=child.role,
                number=child.slot + 1,
                pid=child.pid,
                silent_s=round(silent_s, 1),
            )
            _kill(child.pid, signal.SIGKILL)

    def _renew_workers(self) -> None:
        """Replace the workers one by one, each after its successor is ready: for a changed certificate."""
        try:
            addresses = [Address.parse(text) for text in self._config.server.listen]
            self._tls = tls_files(self._config, addresses)
        except CertificateInvalid as error:
            log.warning("changed certificate not used", reason=error.message)
            return
        for old in [child for child in self._children.values() if child.role == "worker"]:
            old.retiring = True
            slot = next(s for s in self._slots if s.role == "worker" and s.number == old.slot)
            self._start(slot)
            deadline = time.monotonic() + START_TIMEOUT_S
            while not self._stop_asked and time.monotonic() < deadline:
                successor = [
                    c
                    for c in self._children.values()
                    if c.slot == old.slot and c.role == old.role and c is not old
                ]
                if not successor or successor[-1].ready:
                    break
                self._sleep(deadline - time.monotonic())
                self._reap()
            _kill(old.pid, signal.SIGTERM)
        log.info("workers renewed")

    def _certificate_stamp(self) -> tuple[int, ...]:
        if self._tls is None:
            return ()
        with contextlib.suppress(OSError):
            return tuple(Path(path).stat().st_mtime_ns for path in (self._tls.cert, self._tls.key))
        return self._tls_stamp

    def _certificate_changed(self) -> bool:
        stamp = self._certificate_stamp()
        changed = stamp != self._tls_stamp
        self._tls_stamp = stamp
        return changed

    # --- stopping

    def _stop(self) -> None:
        server = self._config.server
        asked = self._stop_asked
        self._signal_all(signal.SIGUSR1, role="worker")
        delay_s = server.drain_delay if asked == 1 else 0
        self._wait_children(delay_s, until_asked=max(asked, 1) + 1)
        self._close_listeners(self._slots)
        self._signal_all(signal.SIGTERM, but=COPY)
        asked = max(self._stop_asked, asked)
        self._wait_children(server.drain_timeout + KILL_GRACE_S, until_asked=asked + 1, but=COPY)
        # Nobody commits any more: what was acknowledged last is copied too.
        self._signal_all(signal.SIGKILL, but=COPY)
        self._signal_all(signal.SIGTERM, role=COPY)
        self._wait_children(COPY_ENDS_S, until_asked=max(self._stop_asked, asked) + 1)

    def _wait_children(self, seconds: float, *, until_asked: int, but: str = "") -> None:
        deadline = time.monotonic() + seconds
        while any(child.role != but for child in self._children.values()) and self._stop_asked < until_asked:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self._sleep(left)
            self._reap()

    def _signal_all(self, number: int, *, role: str | None = None, but: str = "") -> None:
        for child in self._children.values():
            if child.role != but and role in {None, child.role}:
                _kill(child.pid, number)

    def _end_all(self) -> None:
        self._signal_all(signal.SIGKILL)
        for child in list(self._children.values()):
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, 0)
        self._children.clear()

    # --- waiting

    def _install_signals(self) -> None:
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._lifeline_read, self._lifeline_write = os.pipe2(os.O_CLOEXEC)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_interrupt)
        signal.signal(signal.SIGHUP, self._on_reload)

    def _on_stop(self, *_: object) -> None:
        self._stop_asked += 1

    def _on_interrupt(self, *_: object) -> None:
        # From a terminal nobody waits for a load balancer: no drain_delay.
        self._stop_asked += 2 if self._stop_asked == 0 else 1

    def _on_reload(self, *_: object) -> None:
        self._reload_asked = True

    def _sleep(self, seconds: float | None) -> None:
        """Until a signal, a report of a child, or `seconds` have passed."""
        reports = {child.report: child for child in self._children.values() if not child.ready}
        ready, _, _ = select.select([self._wake_read, *reports], [], [], seconds)
        for descriptor in ready:
            if descriptor == self._wake_read:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_read, 4096)
            elif os.read(descriptor, 16).startswith(READY):
                reports[descriptor].ready = True
            else:
                # It is about to end; SIGCHLD will tell. Until then its pipe must not wake us again.
                reports[descriptor].ready = True

    def _reap(self) -> list[ChildProcess]:
        ended = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if pid == 0:
                break
            child = self._children.pop(pid, None)
            if child is not None:
                os.close(child.report)
                child.pulse.close()
                child.ended = _describe(os.waitstatus_to_exitcode(status))
                retire(self._scratch, pid)
                ended.append(child)
        return ended


def _describe(exit_code: int) -> str:
    return f"exit {exit_code}" if exit_code >= 0 else signal.Signals(-exit_code).name


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def preload() -> None:
    """Load what workers need beyond the registry itself, once for all of them."""
    from importlib import import_module

    import_module("entrepot.server.process.site")


def raise_descriptor_limit() -> None:
    """Every connection is a descriptor: use as many as the machine lets us."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
