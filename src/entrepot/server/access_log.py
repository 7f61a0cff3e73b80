"""The access log: one JSON object a request, written in batches away from the event loop.

A request costs an append to a list; lines are made and written together, at most `FLUSH_S` later. Values from
outside are escaped by the JSON encoder, and control characters beyond that, so that no line can be forged.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from datetime import UTC, datetime
from typing import Final

import msgspec

FLUSH_S: Final = 0.25
MAX_WAITING: Final = 100_000
"""Entries kept while the log's reader does not read; more are dropped and counted."""

Entry = tuple[float, float, str, str, str, bytes, int, int, str, str, bytes, str]
"""When, how long, id, method, path, query, status, bytes sent, address, principal, user agent, route."""

_SECRET_QUERY = re.compile(rb"(?i)((?:token|password|secret|signature|code|state)=)[^&]*")
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
                if self._entries:
                    entries, self._entries = self._entries, []
                    await asyncio.to_thread(self._write, entries)
        finally:
            self.flush()

    def flush(self) -> None:
        entries, self._entries = self._entries, []
        if entries:
            self._write(entries)

    def close(self) -> None:
        self.flush()
        if self._owned and self._fd is not None:
            os.close(self._fd)
        self._fd = None

    def _write(self, entries: list[Entry]) -> None:
        if self._fd is None:
            return
        lines = memoryview(b"".join(map(line, entries)))
        with contextlib.suppress(OSError):  # a full disk or a closed pipe must not stop the registry
            while lines:
                lines = lines[os.write(self._fd, lines) :]


def line(entry: Entry) -> bytes:
    """One entry as JSON, with its newline. Pure."""
    when, took, request_id, method, path, query, status, sent, address, principal, agent, route = entry
    moment = datetime.fromtimestamp(when, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields: dict[str, object] = {
        "time": moment,
        "request_id": request_id,
        "method": method,
        "path": path,
        "status": status,
        "bytes": sent,
        "ms": round(took * 1000, 3),
        "address": address,
        "principal": principal,
        "route": route,
    }
    if query:
        fields["query"] = _SECRET_QUERY.sub(rb"\1***", query[:1024]).decode("latin-1")
    if agent:
        fields["agent"] = agent[:256].decode("latin-1")
    encoded = _encode(fields)
    if not encoded.isascii():
        encoded = encoded.decode().encode("ascii", "backslashreplace").replace(b"\\x", b"\\u00")
    return encoded + b"\n"


class RequestIds:
    """Short ids, unique among all workers of this start."""

    def __init__(self) -> None:
        self._prefix = os.urandom(4).hex() + "-"
        self._count = int(time.time() * 1000) & 0xFFFF

    def next(self) -> str:
        self._count += 1
        return f"{self._prefix}{self._count:x}"
