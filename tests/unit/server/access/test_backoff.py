"""Sign-in back-off, in virtual time."""

import pytest

from entrepot.server.access.backoff import SignInBackoff
from entrepot.server.access.errors import TooManyAttempts


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def fail(backoff: SignInBackoff, times: int, user: str = "alice", address: str = "10.0.0.1") -> None:
    for _ in range(times):
        backoff.failed(user, address)


def test_some_failures_are_free_then_waits_double() -> None:
    time = Time()
    backoff = SignInBackoff(time)
    fail(backoff, 4)
    backoff.check("alice", "10.0.0.1")
    fail(backoff, 4)
    with pytest.raises(TooManyAttempts) as caught:
        backoff.check("alice", "10.0.0.1")
    assert caught.value.retry_after_s == 8.0
    time.now += 8.0
    backoff.check("alice", "10.0.0.1")


def test_success_forgets_the_pair() -> None:
    backoff = SignInBackoff(Time())
    fail(backoff, 6)
    backoff.succeeded("alice", "10.0.0.1")
    backoff.check("alice", "10.0.0.1")


def test_strangers_can_not_lock_somebody_out_for_long() -> None:
    backoff = SignInBackoff(Time())
    for number in range(200):
        fail(backoff, 1, address=f"10.0.1.{number}")
    with pytest.raises(TooManyAttempts) as caught:
        backoff.check("alice", "10.9.9.9")
    assert caught.value.retry_after_s <= 5.0


def test_one_address_trying_many_names_waits() -> None:
    backoff = SignInBackoff(Time())
    for number in range(40):
        fail(backoff, 1, user=f"user{number}")
    with pytest.raises(TooManyAttempts):
        backoff.check("somebody", "10.0.0.1")
    backoff.check("somebody", "10.0.0.2")


def test_memory_is_bounded() -> None:
    backoff = SignInBackoff(Time())
    for number in range(30_000):
        backoff.failed(f"user{number}", f"a{number}")
    assert len(backoff._failures) <= 20_000
