"""When a silent process is given up: only when it was silent while somebody could have heard it."""

import asyncio
import os

import pytest

from entrepot.server.process.pulse import LEAST_S, Pulse, Silence

LOOK_S = 5.0


def looks(silence: Silence, count: int, *times: float) -> float:
    for now in times:
        silence.look(count, now)
    return silence.seconds


def test_a_process_that_beats_is_never_silent_however_slowly() -> None:
    silence = Silence(LOOK_S)
    for minute in range(1, 60):
        assert silence.look(minute, minute * 50.0) <= LOOK_S


def test_a_process_that_hangs_is_silent_for_as_long_as_it_was_looked_at() -> None:
    silence = Silence(LOOK_S)
    assert looks(silence, 7, *(i * LOOK_S for i in range(13))) == 12 * LOOK_S
    assert silence.look(8, 65.0) == 0.0


@pytest.mark.parametrize("away_s", [3600.0, 7 * 86_400.0], ids=["stopped", "asleep"])
def test_time_in_which_the_supervisor_was_away_does_not_count(away_s: float) -> None:
    """A suspended machine, a stopped supervisor, a frozen group of processes."""
    silence = Silence(LOOK_S)
    assert looks(silence, 7, 0.0, 1.0, away_s, away_s + 1.0) == 2.0 + LOOK_S


def test_a_beat_is_seen_across_a_fork() -> None:
    pulse = Pulse(LEAST_S)
    assert pulse.count == 0
    pid = os.fork()
    if not pid:
        asyncio.run(_beat_once(pulse))
        os._exit(0)
    os.waitpid(pid, 0)
    assert pulse.count == 1
    pulse.close()


async def _beat_once(pulse: Pulse) -> None:
    beating = asyncio.create_task(pulse.run())
    await asyncio.sleep(0)
    beating.cancel()


def test_no_process_is_given_up_after_less_than_it_takes_a_busy_machine() -> None:
    assert Pulse(0.1).timeout_s == LEAST_S
    assert Pulse(0).timeout_s == 0
