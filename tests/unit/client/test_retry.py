from datetime import UTC, datetime

import pytest

from entrepot.client.retry import RetryPolicy, parse_retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
POLICY = RetryPolicy(attempts=4, base_s=1.0, max_delay_s=3.0, max_retry_after_s=60.0)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        ("Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("1.5", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, now=NOW) == seconds


@pytest.mark.parametrize(
    ("attempt", "draw", "delay"),
    [(1, 0.0, 0.25), (1, 1.0, 1.0), (2, 1.0, 2.0), (3, 1.0, 3.0), (4, 1.0, None)],
)
def test_delays_double_up_to_a_limit_and_end(attempt: int, draw: float, delay: float | None) -> None:
    assert POLICY.delay_s(attempt, retry_after_s=None, draw=lambda: draw) == delay


def test_the_servers_wish_is_a_lower_bound() -> None:
    assert POLICY.delay_s(1, retry_after_s=30.0, draw=lambda: 1.0) == 30.0
    assert POLICY.delay_s(2, retry_after_s=0.0, draw=lambda: 1.0) == 2.0


def test_a_wish_beyond_patience_ends_it() -> None:
    assert POLICY.delay_s(1, retry_after_s=61.0, draw=lambda: 1.0) is None


def test_one_attempt_is_never_repeated() -> None:
    assert RetryPolicy(attempts=1).delay_s(1, retry_after_s=None, draw=lambda: 1.0) is None
