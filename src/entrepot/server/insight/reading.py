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

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.inventory.files.process import REFUSED, ReadRequest, packed

__all__ = ["ContentUnreadable", "read_apart"]

PIECE_BYTES: Final = 1 << 18
MAX_COMPLAINT_BYTES: Final = 16 << 10


READERS: Final = 16
"""Processes at once, of one process of the server: each may take `ReadRequest.limits.memory_bytes`."""
_gates: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class ContentUnreadable(InvalidInput):
    """The content is damaged, made to do harm, or takes more than it may. Trying again gives the same."""

    code = "content-unreadable"


async def read_apart(
    mode: str, request: ReadRequest, content: AsyncIterable[bytes], *, timeout_s: float
) -> AsyncGenerator[bytes, None]:
    """The answer, piece by piece; close it with `aclose()` when it is not read to its end.

    The process ends with it; so many at once, further ones wait. Raises ContentUnreadable, and what
    `content` raises.
    """
    gate = _gates.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(READERS))
    async with gate, aclosing(_read(mode, request, content, timeout_s=timeout_s)) as answer:
        async for piece in answer:
            yield piece


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
        feeding.cancel()
        complaint.cancel()
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await asyncio.gather(feeding, complaint, process.wait(), return_exceptions=True)


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
