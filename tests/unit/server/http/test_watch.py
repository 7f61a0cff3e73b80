"""The watch over slow transfers."""

import asyncio

from entrepot.server.http.request import Request
from entrepot.server.http.watch import TransferWatch


def test_a_request_whose_body_has_arrived_may_take_its_time() -> None:
    """A large upload is joined for minutes after its last byte; the client can do nothing about that."""

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": b"all", "more_body": False}

    async def run() -> tuple[int, int]:
        watch = TransferWatch(min_rate=1024, window_s=60)
        request = Request("PUT", "/v2/app/blobs/uploads/1", headers={}, receive=receive)
        with watch.metered(request):
            assert b"".join([chunk async for chunk in request.chunks()]) == b"all"
            return watch.sweep(), watch.sweep()

    assert asyncio.run(run()) == (0, 0)
