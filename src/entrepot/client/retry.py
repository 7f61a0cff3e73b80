"""When to try again and after how long: a pure decision, so that tests need no clock."""

from __future__ import annotations

import email.utils
import math
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec

from entrepot.backoff import backoff_s

RETRIED_STATUSES = frozenset({408, 429, 500, 502, 503, 504})


class RetryPolicy(msgspec.Struct, frozen=True):
    """Exponential back-off with full jitter; a server's Retry-After is a lower bound for the delay."""

    attempts: int = 6
    """Tries in all, the first included."""
    base_s: float = 0.4
    """Upper end of the first delay; doubles each time."""
    max_delay_s: float = 20.0
    """No computed delay is longer."""
    max_retry_after_s: float = 90.0
    """A server that wants us to wait longer means a quota, not a hiccup: the error is passed on at once."""

    def delay_s(
        self, attempt: int, *, retry_after_s: float | None, draw: Callable[[], float]
    ) -> float | None:
        """Seconds to wait after failed try number `attempt` (from 1), or None to give up.

        `draw` returns a random number from [0, 1).
        """
        if attempt >= self.attempts:
            return None
        if retry_after_s is not None and retry_after_s > self.max_retry_after_s:
            return None
        ceiling = backoff_s(attempt, first_s=self.base_s, longest_s=self.max_delay_s)
        # Never less than a quarter: a draw near zero would hit a struggling server at once.
        return max(ceiling * (0.25 + 0.75 * draw()), retry_after_s or 0.0)


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds a `Retry-After` header asks for (number or HTTP date); None when absent or unreadable."""
    if not value:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        moment = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - (now or datetime.now(UTC))).total_seconds()
    return max(0.0, seconds) if math.isfinite(seconds) else None
