"""Granian inside a process of ours: one Rust listener per socket, requests delivered to our event loop.

Granian's own process manager is not used: it ends the whole server when a worker dies twice. The classes
below are what its workers use themselves; they are not a documented interface, so everything that touches
them is here.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from granian._futures import _future_watcher_wrapper, _new_cbscheduler
from granian._granian import ASGIWorker, SocketHolder, WorkerSignal
from granian.constants import HTTPModes
from granian.http import HTTP1Settings, HTTP2Settings

Application = Callable[[Any, Any, Any], Awaitable[None]]

MAX_CONNECTIONS = 16_384
"""Connections one listener of one worker holds open; the kernel queues more."""
READ_BUFFER_BYTES = 8192 + 4096 * 100
"""Granian's buffer per connection; also the largest header block it would take before it answers 431."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Paths of PEM files, and the oldest version spoken ("1.2")."""

    cert: str
    key: str
    min_version: str = "1.2"


class GranianHost:
    """Listeners on this thread's event loop. `stop` ends accepting, `finished` waits for the rest."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, *, header_timeout_s: float, http2: bool, backlog: int
    ) -> None:
        self._loop = loop
        self._header_timeout_ms = int(header_timeout_s * 1000)
        self._http2 = http2
        self._backlog = backlog
        self._signals: list[Any] = []
        self._keep: list[Any] = []
        self._ended: list[asyncio.Event] = []

    def listen(self, sock: socket.socket, app: Application, *, tls: TlsFiles | None, number: int = 1) -> None:
        """Serve `app` on a bound, listening socket. The socket stays the caller's."""
        signal, ended = WorkerSignal(), asyncio.Event()
        signal.add_cb(lambda: self._loop.call_soon_threadsafe(ended.set))
        holder = SocketHolder(_duplicate(sock), False, self._backlog)
        secured: tuple[Any, ...] = (False, None, None, None, "tls1.2", None, [], False)
        if tls is not None:
            secured = (True, tls.cert, tls.key, None, f"tls{tls.min_version}", None, [], False)
        worker = ASGIWorker(
            number,
            (None, holder),
            None,  # no pipe to a Granian supervisor
            1,  # runtime threads
            8,  # runtime blocking threads, each made when needed
            1,  # Python threads
            30,
            MAX_CONNECTIONS,
            HTTPModes.auto if self._http2 else HTTPModes.http1,
            HTTP1Settings(header_read_timeout=self._header_timeout_ms, max_buffer_size=READ_BUFFER_BYTES),
            HTTP2Settings(keep_alive_interval=self._header_timeout_ms) if self._http2 else None,
            False,  # websockets
            None,
            *secured,
            (None, None),
        )

        def call(scope: Any, protocol: Any) -> Awaitable[None]:
            return app(scope, protocol.receive, protocol.send)

        scheduler = _new_cbscheduler(self._loop, _future_watcher_wrapper(call), impl_asyncio=True)
        worker.serve_str(scheduler, self._loop, signal)
        self._signals.append(signal)
        self._ended.append(ended)
        self._keep.append((worker, scheduler, holder))

    def stop(self) -> None:
        """Close the listeners; requests in flight go on."""
        for signal in self._signals:
            signal.set()

    async def finished(self) -> None:
        """Return when every answer is on the wire and every connection closed, after `stop`."""
        for ended in self._ended:
            await ended.wait()


def _duplicate(sock: socket.socket) -> int:
    return sock.dup().detach()
