"""The watch over slow transfers."""

import asyncio
import time

from entrepot.server.http.request import HttpRequest
from entrepot.server.http.watch import TransferWatch


def test_a_request_whose_body_has_arrived_may_take_its_time() -> None:
    """A large upload is joined for minutes after its last byte; the client can do nothing about that."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"all", "more_body": False}

    async def run() -> tuple[int, int]:
        watch = TransferWatch(min_rate=1024, window_s=60)
        request = HttpRequest("PUT", "/v2/app/blobs/uploads/1", headers={}, receive=receive)
        watch.arriving(request)
        assert b"".join([chunk async for chunk in request.chunks()]) == b"all"
        return watch.sweep(), watch.sweep()

    assert asyncio.run(run()) == (0, 0)


class _Slow:
    """A client that sends nothing until it is let; reads of its body are counted."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_send = asyncio.Event()

    async def __call__(self) -> dict[str, object]:
        self.asked.set()
        await self.may_send.wait()
        return {"type": "http.request", "body": b"x", "more_body": True}


def test_a_body_that_does_not_begin_ends_its_request() -> None:
    async def run() -> list[int]:
        watch, client = TransferWatch(begin_s=20), _Slow()
        request = HttpRequest("POST", "/token", headers={}, receive=client)

        async def answer() -> None:
            watch.arriving(request)
            async for _ in request.chunks():
                pass

        task = asyncio.create_task(answer())
        await client.asked.wait()
        now = time.monotonic()
        ended = [watch.end_silent(now), watch.end_silent(now + 21), watch.end_silent(now + 42)]
        await asyncio.wait([task])
        assert task.cancelled()
        return ended

    assert asyncio.run(run()) == [0, 1, 0]


def test_time_that_we_take_ourselves_is_not_the_clients() -> None:
    """Before the body is asked for (a password is hashed, the catalog is busy), and once it has begun."""

    async def run() -> list[int]:
        watch, client = TransferWatch(min_rate=1024, window_s=60, begin_s=20), _Slow()
        request = HttpRequest("POST", "/token", headers={}, receive=client)
        later = time.monotonic() + 1000
        watch.arriving(request)
        before = [watch.end_silent(later), watch.sweep(), watch.sweep()]
        client.may_send.set()
        await request.receive()
        return [*before, watch.end_silent(later), watch.sweep(), watch.sweep()]

    assert asyncio.run(run()) == [0] * 6


def test_an_answer_that_takes_long_to_begin_is_no_silent_body() -> None:
    async def run() -> int:
        watch = TransferWatch(begin_s=20)
        with watch.metered():
            return watch.end_silent(time.monotonic() + 1000)

    assert asyncio.run(run()) == 0
