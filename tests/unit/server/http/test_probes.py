"""What a balancer is told, and how soon."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from entrepot.server.control.services import Check
from entrepot.server.http.probes import Probes
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.telemetry.metrics import Metrics

pytestmark = pytest.mark.anyio


async def well() -> None:
    pass


async def refused() -> None:
    raise StorageFailed("the disk is full")


async def ask(
    checks: Mapping[str, Check], *, query: bytes = b"", read_only: str | None = None
) -> tuple[int, dict[str, Any]]:
    return await answer(Probes(Metrics(), checks, read_only=lambda: read_only), query)


async def answer(probes: Probes, query: bytes = b"") -> tuple[int, dict[str, Any]]:
    response = await probes.respond("/readyz", query=query)
    assert response is not None
    return response.status, msgspec.json.decode(response.body)


async def test_a_store_that_is_away_takes_no_pulls_down() -> None:
    """S1, D1: the node is ready as long as pulls work; the body says what does not."""
    checks = {"catalog": well, "store": refused}
    said = {"status": "degraded", "problems": {"store": "the disk is full"}}
    assert await ask(checks) == (200, said)
    assert await ask(checks, query=b"x=1&for=pushes") == (503, said)


async def test_without_its_catalog_a_node_is_not_ready() -> None:
    """B2: nothing can be looked up."""
    status, said = await ask({"catalog": refused, "store": well})
    assert (status, said["status"], list(said["problems"])) == (503, "not ready", ["catalog"])


async def test_a_damaged_catalog_takes_no_pulls_down() -> None:
    """B5: read-only is told, beside what else is wrong."""
    checks = {"catalog": well, "store": refused}
    status, said = await ask(checks, read_only="a page is torn")
    assert (status, said["status"], said["reason"]) == (200, "read-only", "a page is torn")
    assert list(said["problems"]) == ["store"]
    assert (await ask({"catalog": well}, query=b"for=pushes", read_only="torn"))[0] == 503


async def test_all_is_well() -> None:
    assert await ask({"catalog": well, "store": well}) == (200, {"status": "ready"})
    assert (await ask({"catalog": well}, query=b"for=pushes"))[0] == 200


async def test_who_asks_does_not_wait_for_a_store_that_does_not_answer() -> None:
    """S1: a probe gives up after a second; the answer comes while the check is still under way."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hangs() -> None:
        begun.set()
        await go_on.wait()

    probes = Probes(Metrics(), {"catalog": well, "store": hangs})
    status, said = await answer(probes)
    assert begun.is_set()
    assert status == 200
    assert list(said["problems"]) == ["store"]
    go_on.set()
    assert await answer(probes) == (200, {"status": "ready"})


async def test_a_check_is_not_run_twice_at_once() -> None:
    runs, go_on = 0, asyncio.Event()

    async def hangs() -> None:
        nonlocal runs
        runs += 1
        await go_on.wait()

    probes = Probes(Metrics(), {"catalog": hangs})
    asked = [asyncio.create_task(answer(probes)) for _ in range(5)]
    await asyncio.gather(*asked)
    assert runs == 1
    go_on.set()
