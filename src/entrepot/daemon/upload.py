"""Turns code that writes into an iterator that is read: what HTTP takes for a request body."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final

from entrepot.layers.chunks import Writable

_PIECE_BYTES: Final = 1 << 20
_DEPTH: Final = 4


class _Stopped(Exception):
    """Nobody reads any more."""


class _Writer:
    def __init__(self, put: Callable[[bytes], None]) -> None:
        self._put = put
        self._pending = bytearray()

    def write(self, data: bytes | memoryview, /) -> int:
        self._pending += data
        if len(self._pending) >= _PIECE_BYTES:
            self.flush()
        return len(data)

    def flush(self) -> None:
        if self._pending:
            data, self._pending = bytes(self._pending), bytearray()
            self._put(data)


def written_chunks(produce: Callable[[Writable], None]) -> Iterator[bytes]:
    """What `produce` writes, on a thread of its own and at most a few megabytes ahead.

    Its errors come out of the iterator. Closing the iterator ends the thread.
    """
    ready: queue.Queue[bytes | BaseException | None] = queue.Queue(_DEPTH)
    stopped = threading.Event()

    def put(item: bytes | BaseException | None) -> None:
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return
        raise _Stopped

    def run() -> None:
        writer = _Writer(put)
        try:
            try:
                produce(writer)
                writer.flush()
            except _Stopped:
                raise
            except BaseException as error:  # noqa: BLE001 - raised where it is read
                put(error)
            put(None)
        except _Stopped:
            pass

    thread = threading.Thread(target=run, name="archive-upload", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        thread.join()
