"""`logs`: what a container has written."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.containers.errors import InvalidOption
from entrepot.containers.logs import LogQuery, LogRecord, read_log
from entrepot.images.store import ImageStore
from entrepot.images.times import parse_time

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "ms": 0.001}
_POLL_S = 0.1


def container_logs(
    name: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    store: ImageStore | Path | str | None = None,
) -> Iterator[LogRecord]:
    """Records in order; with `follow`, until the container ends. Raises NoSuchContainer, InvalidOption
    when its output is not kept."""
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    if container.host.log_driver == "none":
        raise InvalidOption(
            "configured logging driver does not support reading",
            hint="the container was made with --log-driver none: its output is not kept",
        )
    path = lifecycle.containers.directory(container) / "log"

    def goes_on() -> bool:
        if not lifecycle.settled_state(container).is_up:
            return False
        time.sleep(_POLL_S)
        return True

    return read_log(path, LogQuery(tail, since, until), follow=goes_on if follow else None)


def parse_moment(text: str, now: datetime) -> datetime:
    """`--since` and `--until`: RFC 3339, seconds since 1970, or how long ago (`10m`, `1h30m`). Raises
    InvalidOption."""
    if text.replace(".", "", 1).isdigit():
        return datetime.fromtimestamp(float(text), UTC)
    moment = parse_time(text)
    if moment is not None:
        return moment
    return now - _duration(text)


def _duration(text: str) -> timedelta:
    import re

    parts = re.findall(r"(?<![0-9.])([0-9.]++)(ms|[smh])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise InvalidOption(f'invalid value for "since": failed to parse value as time or duration: "{text}"')
    return timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))
