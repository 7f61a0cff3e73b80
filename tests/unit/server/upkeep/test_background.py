"""Work that nobody waits for does not end unnoticed."""

import asyncio
import logging

import pytest

from entrepot.server.upkeep.runner.background import in_background

pytestmark = pytest.mark.anyio


async def test_work_that_fails_ends_the_process_and_says_why(caplog: pytest.LogCaptureFixture) -> None:
    async def failing() -> None:
        raise KeyError("lost")

    stop = asyncio.Event()
    with caplog.at_level(logging.ERROR):
        task = in_background(failing(), stop)
        await asyncio.wait([task])
        await stop.wait()
    (record,) = caplog.records
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], KeyError)


async def test_work_that_is_cancelled_or_done_ends_nothing() -> None:
    stop = asyncio.Event()
    going, done = in_background(asyncio.sleep(60), stop), in_background(asyncio.sleep(0), stop)
    await done
    going.cancel()
    await asyncio.wait([going])
    await asyncio.sleep(0)
    assert not stop.is_set()
