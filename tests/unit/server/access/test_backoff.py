"""Sign-in back-off, in virtual time (pure)."""

import pytest

from entrepot.server.access.sign_in.backoff import (
    FORGET_AFTER,
    TRUSTED_FOR,
    Failures,
    SignInRecord,
    network_of,
    pause_s,
)
from entrepot.server.db.clock import SECOND

NOW = 1_700_000_000 * SECOND


def failures(count: int, ago_s: float = 0) -> Failures:
    return Failures(count, NOW - round(ago_s * SECOND))


@pytest.mark.parametrize(
    ("count", "waits_s"), [(4, 0), (5, 1), (6, 2), (8, 8), (13, 256), (14, 300), (90, 300)]
)
def test_some_failures_are_free_then_waits_double(count: int, waits_s: float) -> None:
    assert pause_s(SignInRecord(pair=failures(count)), NOW) == waits_s
    assert pause_s(SignInRecord(pair=failures(count, ago_s=waits_s)), NOW) == 0


def test_failures_are_forgotten_after_a_while() -> None:
    old = failures(90, ago_s=FORGET_AFTER / SECOND + 1)
    assert pause_s(SignInRecord(old, old, old), NOW) == 0


def test_strangers_hold_somebody_back_for_a_moment_only() -> None:
    assert pause_s(SignInRecord(user=failures(5000)), NOW) == 5


def test_one_address_trying_many_names_waits() -> None:
    assert pause_s(SignInRecord(address=failures(40)), NOW) == 300


def test_others_never_hold_back_somebody_where_they_have_signed_in() -> None:
    """An endless attack on a user, or from a shared address, locks out nobody who is known there."""
    attacked = SignInRecord(address=failures(5000), user=failures(5000), succeeded_at=NOW - SECOND)
    assert pause_s(attacked, NOW) == 0
    long_ago = SignInRecord(user=failures(5000), succeeded_at=NOW - TRUSTED_FOR - 1)
    assert pause_s(long_ago, NOW) == 5
    guessed_at = SignInRecord(pair=failures(14), succeeded_at=NOW - SECOND)
    assert pause_s(guessed_at, NOW) == 300


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "?"),
        (None, "?"),
        ("unix:", "?"),
    ],
    ids=str,
)
def test_an_address_counts_as_what_one_customer_has(address: str | None, network: str) -> None:
    assert network_of(address) == network
