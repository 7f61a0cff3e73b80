"""The HTTP status of an error outside of the registry API."""

from __future__ import annotations

from typing import Final

from entrepot.errors import (
    Conflict,
    Denied,
    EntrepotError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
    VerificationFailed,
)
from entrepot.server.access.decision.errors import VersionMismatch
from entrepot.server.control.events import EventsGone

__all__ = ["problem_status"]

_STATUS: Final[tuple[tuple[type[EntrepotError], int], ...]] = (
    # The first row an error is an instance of decides.
    (VersionMismatch, 412),
    (EventsGone, 410),
    (Unauthorized, 401),
    (Denied, 403),
    (NotFound, 404),
    (Conflict, 409),
    (LimitExceeded, 429),
    (Unavailable, 503),
    (VerificationFailed, 400),
    (InvalidInput, 400),
)


def problem_status(error: EntrepotError) -> int:
    """500 for what has no row. Pure."""
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
