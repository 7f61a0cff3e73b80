"""Sign-in back-off: after some failures, each further one doubles the wait.

Kept in memory per worker process: an attacker gets a few tries more with more workers, nobody gets a
database write per wrong password. Keys are (user and address), the address alone, and the user alone. The
last one waits only a moment: strangers must not be able to lock somebody out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from entrepot.server.access.errors import TooManyAttempts

__all__ = ["SignInBackoff"]

_MAX_KEYS: Final = 20_000
_FORGET_AFTER_S: Final = 900.0


@dataclass(frozen=True, slots=True)
class _Rule:
    free: int
    """Failures before the first wait."""
    longest_s: float


_PAIR: Final = _Rule(free=5, longest_s=300.0)
_ADDRESS: Final = _Rule(free=30, longest_s=300.0)
_USER: Final = _Rule(free=30, longest_s=5.0)


@dataclass(slots=True)
class _Failures:
    count: int
    last_at: float


class SignInBackoff:
    """`check` before verifying, then `failed` or `succeeded`. `clock` is monotonic seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures: OrderedDict[tuple[str, str], _Failures] = OrderedDict()

    def check(self, user: str, address: str | None) -> None:
        """Raises TooManyAttempts with the seconds to wait."""
        now = self._clock()
        wait_s = max(self._wait_s(key, rule, now) for key, rule in _keys(user, address))
        if wait_s > 0:
            raise TooManyAttempts("too many failed sign-ins", retry_after_s=max(1.0, wait_s))

    def failed(self, user: str, address: str | None) -> None:
        now = self._clock()
        for key, _rule in _keys(user, address):
            entry = self._failures.pop(key, None)
            if entry is None or now - entry.last_at > _FORGET_AFTER_S:
                entry = _Failures(count=0, last_at=now)
            entry.count += 1
            entry.last_at = now
            self._failures[key] = entry
        while len(self._failures) > _MAX_KEYS:
            self._failures.popitem(last=False)

    def succeeded(self, user: str, address: str | None) -> None:
        """Forgets the pair; the address keeps its count, or one own account would reset it."""
        self._failures.pop(_keys(user, address)[0][0], None)

    def _wait_s(self, key: tuple[str, str], rule: _Rule, now: float) -> float:
        entry = self._failures.get(key)
        if entry is None or entry.count < rule.free:
            return 0.0
        pause_s = min(rule.longest_s, 2.0 ** min(entry.count - rule.free, 16))
        return entry.last_at + pause_s - now


def _keys(user: str, address: str | None) -> tuple[tuple[tuple[str, str], _Rule], ...]:
    where = address or "?"
    return ((("pair:" + user, where), _PAIR), (("address", where), _ADDRESS), (("user", user), _USER))
