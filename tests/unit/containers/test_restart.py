"""When a process is started again, and how long that waits."""

from __future__ import annotations

import pytest

from entrepot.containers.restart import comes_again, ends_in_a_row, parse_restart, pause_s

CASES = [
    ("no", 0, 0, 1, False),
    ("always", 0, 9, 0, True),
    ("unless-stopped", 0, 9, 0, True),
    ("on-failure", 0, 99, 1, True),
    ("on-failure", 0, 0, 0, False),
    ("on-failure", 2, 1, 137, True),
    ("on-failure", 2, 2, 137, False),
]


@pytest.mark.parametrize(("policy", "retries", "restarts", "exit_code", "again"), CASES)
def test_what_is_started_again(policy: str, retries: int, restarts: int, exit_code: int, again: bool) -> None:
    assert comes_again(policy, retries, restarts=restarts, exit_code=exit_code) is again


def test_pauses_double_up_to_a_minute_and_begin_anew_after_a_long_run() -> None:
    pauses, ends = [0.0], 0
    for _ in range(12):
        ends = ends_in_a_row(ends, lasted_s=1)
        pauses.append(pause_s(ends))
    assert pauses[1:4] == [0.1, 0.2, 0.4]
    assert pauses[-1] == 60.0
    assert pause_s(ends_in_a_row(ends, lasted_s=10)) == 0.1


def test_policies_are_read() -> None:
    assert parse_restart("on-failure:3") == ("on-failure", 3)
    assert parse_restart("unless-stopped") == ("unless-stopped", 0)
