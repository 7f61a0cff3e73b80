"""The access log: one JSON object a request, written in batches away from the event loop.

A request costs an append to a list; lines are made together, at most `FLUSH_S` later, and written by a
thread. They are made on the event loop, in small portions: a thread that makes them would fight the loop for
the interpreter at every database query. Values from outside are escaped by the JSON encoder, so that no line
can be forged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

import msgspec

FLUSH_S: Final = 0.1
PORTION: Final = 128
"""Lines made before other tasks get their turn."""
MAX_WAITING: Final = 100_000
"""Entries kept while the log's reader does not read; more are dropped and counted."""

Entry = tuple[float, float, str, str, str, bytes, int, int, str, str, bytes, str]
"""When, how long, id, method, path, query, status, bytes sent, address, principal, user agent, route."""

_SECRET_QUERY = re.compile(
    rb"(?i)((?:token|password|secret|signature|code|state)=)[^&]*"
    rb"|(ent_[a-z]{3}_)[0-9a-z]+"  # one of ours, wherever it got to, as in the address to return to
)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_encode = msgspec.json.Encoder().encode


class AccessLog:
    """`target` is `stdout`, `stderr`, a path, or `off`."""

    def __init__(self, target: str) -> None:
        self._fd: int | None = None
        self._owned = False
        if target in ("stdout", "stderr"):
            self._fd = 1 if target == "stdout" else 2
        elif target != "off":
            self._fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
            self._owned = True
        self._entries: list[Entry] = []
        self.dropped = 0

    @property
    def enabled(self) -> bool:
        return self._fd is not None

    def add(self, entry: Entry) -> None:
        if self._fd is None:
            return
        if len(self._entries) >= MAX_WAITING:
            self.dropped += 1
            return
        self._entries.append(entry)

    async def run(self) -> None:
        """Write what has come together, until cancelled; what is left then is written too."""
        if self._fd is None:
            return
        try:
            while True:
                await asyncio.sleep(FLUSH_S)
                entries, self._entries = self._entries, []
                while entries:
                    lines = b"".join(map(line, entries[:PORTION]))
                    del entries[:PORTION]
                    await asyncio.to_thread(self._write, lines)
        finally:
            self.flush()

    def flush(self) -> None:
        entries, self._entries = self._entries, []
        if entries:
            self._write(b"".join(map(line, entries)))

    def close(self) -> None:
        self.flush()
        if self._owned and self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def _write(self, lines: bytes) -> None:
        left = memoryview(lines)
        with contextlib.suppress(OSError):  # a full disk or a closed pipe must not stop the registry
            while left and self._fd is not None:
                left = left[os.write(self._fd, left) :]


class _Line(msgspec.Struct, omit_defaults=True):
    time: str
    request_id: str
    method: str
    path: str
    status: int
    bytes: int
    ms: float
    address: str
    principal: str
    route: str
    query: str = ""
    agent: str = ""


@lru_cache(maxsize=8)
def _second(when: int) -> str:
    return datetime.fromtimestamp(when, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def line(entry: Entry) -> bytes:
    """One entry as JSON, with its newline. Pure."""
    when, took, request_id, method, path, query, status, sent, address, principal, agent, route = entry
    whole = int(when)
    encoded = _encode(
        _Line(
            f"{_second(whole)}.{int((when - whole) * 1000):03d}Z",
            request_id,
            method,
            path,
            status,
            sent,
            round(took * 1000, 3),
            address,
            principal,
            route,
            _SECRET_QUERY.sub(rb"\1\2***", query[:1024]).decode("latin-1") if query else "",
            agent[:256].decode("latin-1") if agent else "",
        )
    )
    if not encoded.isascii():
        # C1 controls and marks that turn the direction of text would reach a terminal as they are.
        encoded = _NOT_ASCII.sub(lambda found: f"\\u{ord(found[0]):04x}", encoded.decode()).encode("ascii")
    return encoded + b"\n"


class RequestIds:
    """Short ids, unique among all workers of this start."""

    def __init__(self) -> None:
        self._prefix = os.urandom(4).hex() + "-"
        self._count = int(time.time() * 1000) & 0xFFFF

    def next(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:x}"
