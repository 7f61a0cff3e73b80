"""A job's steps: as large as they can be while each stays short."""

import pytest

from entrepot.server.upkeep.collection.pace import Pace

pytestmark = pytest.mark.anyio


def test_quick_steps_grow_up_to_the_most() -> None:
    pace = Pace(first=100, least=10, most=1000, target_s=1, idle=0)
    sizes = []
    for _ in range(5):
        pace.note(0.1)
        sizes.append(pace.rows)
    assert sizes == [200, 400, 800, 1000, 1000]


def test_a_slow_step_makes_the_next_fit_but_not_below_the_least() -> None:
    pace = Pace(first=1000, least=400, most=1000, target_s=1, idle=0)
    pace.note(2)
    assert pace.rows == 500
    pace.note(100)
    assert pace.rows == 400


def test_a_step_that_fits_changes_nothing() -> None:
    pace = Pace(first=100, least=10, most=1000, target_s=1, idle=0)
    pace.note(0.7)
    assert pace.rows == 100


async def test_rest_is_a_part_of_the_step_it_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    rests: list[float] = []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr("asyncio.sleep", sleep)
    pace = Pace(first=100, least=10, most=1000, target_s=1, idle=2)
    pace.note(0.25)
    await pace.rest()
    await pace.rest()
    assert rests == [0.5, 0]
