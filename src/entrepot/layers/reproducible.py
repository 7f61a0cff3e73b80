"""The same tree gives the same bytes, when that is asked for.

`SOURCE_DATE_EPOCH` (reproducible-builds.org) is the latest time that may appear: file times after it become
it, and
times of creation are it. Entries are always written in byte order of their names, without user names; with it
set,
gzip's output does not depend on the processor either.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

from entrepot.errors import InvalidInput


class InvalidTimestamp(InvalidInput):
    """SOURCE_DATE_EPOCH or `--timestamp` is no number of seconds."""

    code = "invalid-timestamp"


def source_date_epoch(environ: Mapping[str, str] = os.environ) -> int | None:
    """Seconds since 1970, or None when nothing is asked for. Raises InvalidTimestamp."""
    text = environ.get("SOURCE_DATE_EPOCH", "").strip()
    return parse_timestamp(text) if text else None


def parse_timestamp(text: str) -> int:
    """Seconds since 1970, or an RFC 3339 time. Raises InvalidTimestamp."""
    if text.isdigit() and len(text) <= 11:
        return int(text)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidTimestamp(
            f"'{text}' is no time: give seconds since 1970 or 2024-01-31T12:00:00Z"
        ) from None
    return max(0, int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()))


def creation_time(epoch_s: int | None) -> datetime:
    """When what is made now is said to have been made."""
    return datetime.now(UTC) if epoch_s is None else datetime.fromtimestamp(epoch_s, UTC)
