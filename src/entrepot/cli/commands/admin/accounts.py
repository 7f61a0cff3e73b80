"""What the commands about accounts share: tables, times, passwords and secrets."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from entrepot.cli.output import Column, Listing, print_listing
from entrepot.errors import InvalidInput


def print_rows(columns: Sequence[str], rows: Sequence[Mapping[str, Any]], format_: str | None) -> None:
    """A table of `columns` (also the names in templates and JSON)."""
    listing = Listing(
        columns=tuple(Column(name, name.replace("_", " ").upper()) for name in columns),
        shown=tuple(columns),
        json_names=tuple(sorted(columns)),
        quiet=columns[0],
    )
    print_listing(
        listing, [{name: _cell(row[name], format_) for name in columns} for row in rows], format_=format_
    )


def _cell(value: Any, format_: str | None) -> Any:
    if format_ == "json":
        return list(value) if isinstance(value, tuple) else value
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return value


def moment(microseconds: int | None) -> str | None:
    """RFC 3339, UTC."""
    if microseconds is None:
        return None
    return datetime.fromtimestamp(microseconds // 1_000_000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_expiry(text: str | None, now: int) -> int | None:
    """`30d`, `12h`, `never`, or an RFC 3339 time. Raises InvalidInput."""
    if text is None or text == "never":
        return None
    units = {
        "m": timedelta(minutes=1),
        "h": timedelta(hours=1),
        "d": timedelta(days=1),
        "w": timedelta(weeks=1),
    }
    if text[:-1].isdigit() and text[-1] in units:
        return now + round((int(text[:-1]) * units[text[-1]]).total_seconds() * 1_000_000)
    return parse_moment(text)


def parse_moment(text: str) -> int:
    """An RFC 3339 time or a date, as microseconds since 1970. Raises InvalidInput."""
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            f"{text!r} is no time", hint="write 30d, 12h, never, 2026-10-01 or 2026-10-01T12:00:00Z"
        ) from None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1_000_000)


def read_password(from_stdin: bool, name: str) -> str:
    """A new password, checked. Raises InvalidPassword."""
    from entrepot.server.control.passwords import check_new_password

    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = str(click.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True))
    check_new_password(password, name=name)
    return password


def show_secret(secret: object, what: str) -> None:
    """The secret on stdout, alone; what it is on stderr, so that scripts can take it."""
    click.echo(f"{what}; it is shown this once:", err=True)
    click.echo(str(secret))
