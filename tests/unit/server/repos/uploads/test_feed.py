"""A request body on its way into the store."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from entrepot.server.repos.uploads.feed import Feed, uninterrupted

pytestmark = pytest.mark.anyio


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def drain(feed: Feed) -> bytes:
    return b"".join([bytes(chunk) async for chunk in feed])


async def test_chunks_pass_and_empty_ones_do_not() -> None:
    feed = Feed(pieces(b"", b"ab", b"", b"c"), limit=10, expected=None)
    assert await feed.has_bytes()
    assert await drain(feed) == b"abc"
    assert (feed.received, feed.is_short, feed.too_long, feed.too_large) == (3, False, False, False)


async def test_nothing_is_an_empty_body() -> None:
    for feed in (Feed(None, limit=10, expected=0), Feed(pieces(b"", b""), limit=10, expected=None)):
        assert not await feed.has_bytes()
        assert await drain(feed) == b""


async def test_more_than_announced_is_cut_and_told() -> None:
    feed = Feed(pieces(b"abc", b"def", b"ghi"), limit=10, expected=4)
    assert await drain(feed) == b"abcd"
    assert feed.too_long
    assert not feed.is_short


async def test_a_chunk_beyond_the_limit_is_not_taken() -> None:
    feed = Feed(pieces(b"abc", b"def"), limit=5, expected=None)
    assert await drain(feed) == b"abc"
    assert feed.too_large


async def test_a_client_that_goes_away_ends_the_body() -> None:
    async def breaks() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionResetError

    feed = Feed(breaks(), limit=10, expected=9)
    assert await drain(feed) == b"abc"
    assert isinstance(feed.failure, ConnectionResetError)
    assert feed.is_short


async def test_cancelling_ends_the_body_and_lets_the_work_finish() -> None:
    waiting = asyncio.Event()

    async def stalls() -> AsyncIterator[bytes]:
        yield b"abc"
        waiting.set()
        await asyncio.Event().wait()

    feed, done = Feed(stalls(), limit=10, expected=None), []

    async def work() -> None:
        done.append(await drain(feed))
        await asyncio.sleep(0)
        done.append(b"recorded")

    caller = asyncio.ensure_future(uninterrupted(work(), feed))
    await waiting.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == [b"abc", b"recorded"]


async def test_work_hears_neither_one_cancellation_nor_several() -> None:
    go_on, done = asyncio.Event(), []

    async def work() -> None:
        await go_on.wait()
        done.append(1)

    caller = asyncio.ensure_future(uninterrupted(work()))
    for _ in range(3):
        await asyncio.sleep(0)
        caller.cancel()
        await asyncio.sleep(0)
    assert not caller.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await caller
    assert done == [1]


async def test_what_the_work_raises_is_raised() -> None:
    async def fails() -> None:
        raise LookupError("here")

    with pytest.raises(LookupError, match="here"):
        await uninterrupted(fails())
