"""A container's output, kept as docker's json-file driver keeps it: one JSON object a line, in order of
arrival."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

_PIECE = 16 * 1024
"""A longer line is cut into records; only the last ends in a newline. docker's size."""


_BLOCK = 1 << 16


class LogRecord(msgspec.Struct):
    """One line of the log."""

    log: str
    stream: str
    time: str


class LogWriter:
    """Appends what a container writes, line by line."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._pending = {"stdout": bytearray(), "stderr": bytearray()}
        self._lost = False

    def write(self, stream: str, data: bytes) -> None:
        """Add bytes of `stdout` or `stderr`; an unfinished line waits for its end."""
        pending = self._pending[stream]
        pending += data
        out = bytearray()
        while True:
            end = pending.find(b"\n", 0, _PIECE)
            size = end + 1 if end >= 0 else _PIECE if len(pending) >= _PIECE else 0
            if not size:
                break
            out += _record(stream, bytes(pending[:size]))
            del pending[:size]
        if out:
            self._append(out)

    @property
    def lost(self) -> bool:
        """Whether output could not be kept: the disk was full."""
        return self._lost

    def close(self) -> None:
        """Write what is unfinished. May be called twice."""
        if self._fd < 0:
            return
        for stream, pending in self._pending.items():
            if pending:
                self._append(_record(stream, bytes(pending)))
        os.close(self._fd)
        self._fd = -1

    def _append(self, data: bytes | bytearray) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError:
            # A container does not end because its log cannot be kept.
            self._lost = True


def _record(stream: str, data: bytes) -> bytes:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
    return msgspec.json.encode(LogRecord(data.decode(errors="replace"), stream, now)) + b"\n"


class LogQuery(Struct, frozen=True):
    """Which records are wanted."""

    tail: int | None = None
    """Only so many of the last lines."""
    since: datetime | None = None
    until: datetime | None = None


def read_log(
    path: Path,
    query: LogQuery = LogQuery(),
    *,
    follow: Callable[[], bool] | None = None,
) -> Iterator[LogRecord]:
    """Records in order. With `follow`, waits for more until it says that no more will come."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if query.tail is not None:
            file.seek(_start_of_last(query.tail, file))
        yield from _following(file, query, follow)


def _following(file, query: LogQuery, follow: Callable[[], bool] | None) -> Iterator[LogRecord]:  # type: ignore[no-untyped-def]
    rest = b""
    while True:
        # Asked before reading: what was written until then is read in this round.
        more = follow() if follow is not None else False
        while data := file.read(1 << 20):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            for line in lines:
                record = _parsed(line)
                if record is not None and _wanted(record, query):
                    yield record
        if not more:
            return


def _start_of_last(count: int, file: BinaryIO) -> int:
    """Where the last `count` records begin. Reads from the end, and no more than it has to."""
    at = file.seek(0, os.SEEK_END)
    found, rest = 0, b""
    while at:
        size = min(_BLOCK, at)
        at -= size
        file.seek(at)
        data = file.read(size) + rest
        rest, *lines = data.split(b"\n")
        start = at + len(data)
        for line in reversed(lines):
            start -= len(line)
            found += _parsed(line) is not None
            if found >= count:
                return start
            start -= len(b"\n")
    return 0


def _parsed(line: bytes) -> LogRecord | None:
    if not line:
        return None
    try:
        return msgspec.json.decode(line, type=LogRecord)
    except msgspec.MsgspecError:
        return None


def _wanted(record: LogRecord, query: LogQuery) -> bool:
    if query.since is None and query.until is None:
        return True
    moment = datetime.fromisoformat(record.time[:26] + "+00:00")
    if query.since is not None and moment < query.since:
        return False
    return query.until is None or moment <= query.until
