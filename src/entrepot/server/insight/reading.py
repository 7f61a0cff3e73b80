"""Starts the process that reads layers (`inventory.files.process`), feeds it, and takes its answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import aclosing
from typing import Final
from weakref import WeakKeyDictionary

from entrepot.errors import EntrepotError, InvalidInput, Unavailable
from entrepot.inventory.files.process import REFUSED, ReadRequest, packed

__all__ = ["ContentUnreadable", "TooManyReaders", "read_apart"]

PIECE_BYTES: Final = 1 << 18
MAX_COMPLAINT_BYTES: Final = 16 << 10


READERS: Final = 16
"""Processes at once for people, of one process of the server: each may take
`ReadRequest.limits.memory_bytes`. Lists are made apart from them, one at a time.
"""
WAIT_S: Final = 20.0
"""For one of them to end."""
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class ContentUnreadable(InvalidInput):
    """The content is damaged, made to do harm, or takes more than it may. Trying again gives the same."""

    code = "content-unreadable"


class TooManyReaders(Unavailable):
    """Others read as many contents as may be read at once."""

    code = "too-many-readers"


async def read_apart(
    mode: str, request: ReadRequest, content: AsyncIterable[bytes], *, timeout_s: float
) -> AsyncGenerator[bytes, None]:
    """The answer, piece by piece; close it with `aclose()` when it is not read to its end.

    The process ends with it, and when its time is over, also when nobody reads on. So many contents at once:
    further ones wait a while. Raises ContentUnreadable, TooManyReaders, and what `content` raises.
    """
    answer = _read(mode, request, content, timeout_s=timeout_s)
    if mode != "content":  # its one job makes them; people who read can't keep it from that
        async with aclosing(answer):
            async for piece in answer:
                yield piece
        return
    place = await _take_place(timeout_s)
    try:
        async with aclosing(answer):
            async for piece in answer:
                yield piece
    finally:
        place.leave()


class _Place:
    """One of the readers. Left once; by the clock when a client that reads nothing holds it."""

    def __init__(self, gate: asyncio.Semaphore, timeout_s: float) -> None:
        self._gate = gate
        self._is_held = True
        # The process ends at that time too, by its own clock.
        self._timer = asyncio.get_running_loop().call_later(timeout_s, self.leave)

    def leave(self) -> None:
        self._timer.cancel()
        if self._is_held:
            self._is_held = False
            self._gate.release()


async def _take_place(timeout_s: float) -> _Place:
    gate = _gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(READERS))
    try:
        await asyncio.wait_for(gate.acquire(), WAIT_S)
    except TimeoutError:
        raise TooManyReaders(
            f"{READERS} files of images are being read already",
            hint="try again in a minute",
            retry_after_s=60,
        ) from None
    return _Place(gate, timeout_s)


async def _read(
    mode: str, request: ReadRequest, content: AsyncIterable[bytes], *, timeout_s: float
) -> AsyncGenerator[bytes, None]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "entrepot.inventory.files.process",
        mode,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", ""), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    complaint = asyncio.create_task(process.stderr.read(MAX_COMPLAINT_BYTES))
    feeding = asyncio.create_task(_feed(process.stdin, request, content))
    # No `asyncio.timeout` around a yield: who reads on may be another task than who began.
    clock = asyncio.get_running_loop().time
    until = clock() + timeout_s
    # Who reads nothing more is not waited for: no process and no stream of a blob outlives its time.
    ending = asyncio.get_running_loop().call_later(timeout_s, _end, process, feeding)
    try:
        while piece := await asyncio.wait_for(process.stdout.read(PIECE_BYTES), until - clock()):
            yield piece
        code = await asyncio.wait_for(process.wait(), max(1.0, until - clock()))
        if feeding.done():
            feeding.result()
        if code != 0:
            raise _refusal(code, await complaint)
        await feeding
    except TimeoutError as error:
        raise ContentUnreadable(f"reading it took more than {timeout_s:.0f} seconds") from error
    finally:
        ending.cancel()
        complaint.cancel()
        _end(process, feeding)
        # What is left in the pipe is read: a stream that waits to be read on never sees its end, and is kept.
        await asyncio.gather(
            feeding, complaint, process.stdout.read(), process.wait(), return_exceptions=True
        )


def _end(process: asyncio.subprocess.Process, feeding: asyncio.Task[None]) -> None:
    feeding.cancel()
    with contextlib.suppress(ProcessLookupError):
        process.kill()


async def _feed(pipe: asyncio.StreamWriter, request: ReadRequest, content: AsyncIterable[bytes]) -> None:
    try:
        pipe.write(packed(request))
        async for piece in content:
            pipe.write(piece)
            await pipe.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # it has what it wants, or has ended: its code tells
    finally:
        with contextlib.suppress(OSError):
            pipe.close()


def _refusal(code: int, complaint: bytes) -> EntrepotError:
    if code == REFUSED:
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return ContentUnreadable(str(json.loads(complaint)["message"]))
    if code < 0:
        return ContentUnreadable(
            f"reading it took more than it may (the process was ended by signal {-code})"
        )
    last = complaint.decode("utf-8", "replace").strip().splitlines()[-1:]
    return ContentUnreadable(f"reading it failed: {last[0] if last else f'exit {code}'}")
