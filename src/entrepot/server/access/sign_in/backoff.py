"""Sign-in back-off: after some failures, each further one doubles the wait. Pure; times in microseconds.

Failures count three times over: for the user from that address, for the address, for the user from
everywhere. Strangers must not be able to lock somebody out: the last two do not hold back a user at an
address where they have signed in lately, and the last one waits only a moment.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

from entrepot.backoff import backoff_s
from entrepot.server.db.clock import SECOND

__all__ = ["FORGET_AFTER", "TRUSTED_FOR", "Failures", "SignInRecord", "counted", "network_of", "pause_s"]

FORGET_AFTER: Final = 900 * SECOND
"""Failures this old count no more."""
TRUSTED_FOR: Final = 30 * 24 * 3600 * SECOND
"""So long after a sign-in from an address only failures of that user there hold that user back there."""


@dataclass(frozen=True, slots=True)
class _Rule:
    free: int
    """Failures before the first wait."""
    longest_s: float


_PAIR: Final = _Rule(free=5, longest_s=300.0)
_ADDRESS: Final = _Rule(free=30, longest_s=300.0)
_USER: Final = _Rule(free=30, longest_s=5.0)


@dataclass(frozen=True, slots=True)
class Failures:
    count: int = 0
    last_at: int = 0


@dataclass(frozen=True, slots=True)
class SignInRecord:
    """What is known when somebody tries."""

    pair: Failures = Failures()
    address: Failures = Failures()
    user: Failures = Failures()
    succeeded_at: int | None = None
    """When this user last signed in from this address."""

    def is_trusted(self, now: int) -> bool:
        return self.succeeded_at is not None and now - self.succeeded_at < TRUSTED_FOR


def pause_s(record: SignInRecord, now: int) -> float:
    """Seconds until the next try is looked at; 0: now."""
    waits = [_wait(record.pair, _PAIR, now)]
    if not record.is_trusted(now):
        waits += [_wait(record.address, _ADDRESS, now), _wait(record.user, _USER, now)]
    return max(0.0, *waits)


def counted(failures: Failures, now: int) -> int:
    """How many there are with the one that has just happened."""
    return 1 if now - failures.last_at > FORGET_AFTER else failures.count + 1


def _wait(failures: Failures, rule: _Rule, now: int) -> float:
    if failures.count < rule.free or now - failures.last_at > FORGET_AFTER:
        return 0.0
    pause = backoff_s(failures.count - rule.free + 1, first_s=1.0, longest_s=rule.longest_s)
    return (failures.last_at - now) / SECOND + pause


def network_of(address: str | None) -> str:
    """What counts as one address: all of an IPv6 network of 64 bits, which one customer has."""
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "?"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
