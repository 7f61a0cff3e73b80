"""What the commands about accounts share: one transaction as the operator, tables, times."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click

from entrepot.cli.commands.admin import operator, with_services
from entrepot.cli.output import Column, Listing, print_listing
from entrepot.errors import InvalidInput

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from entrepot.server.access.decision.actor import Actor
    from entrepot.server.access.secrets.sealing import SealKey
    from entrepot.server.control.services import Services

T = TypeVar("T")


def look(read: Callable[[Connection], T]) -> T:
    """Run `read` on the server's catalog."""

    async def run(services: Services) -> T:
        return await services.catalog.read(read)

    return with_services(run)


def change(write: Callable[[Connection, Actor, int], T]) -> T:
    """Run `write(connection, actor, now)` as one transaction, in the name of whoever typed the command."""
    return change_sealed(lambda connection, actor, now, _seal: write(connection, actor, now))


def change_sealed(write: Callable[[Connection, Actor, int, SealKey], T]) -> T:
    """As `change`, with the key that seals secrets."""

    async def run(services: Services) -> T:
        from entrepot.server.access.directory.first_start import prepare_tables
        from entrepot.server.access.secrets.sealing import SealKey
        from entrepot.server.compose import access_settings

        settings = access_settings(services.config)
        seal = SealKey.load_or_create(settings.seal_file)
        now = services.catalog.clock.now()
        await services.catalog.write(prepare_tables, seal, settings.issuer, now)

        def in_transaction(connection: Connection) -> T:
            return write(connection, operator(), services.catalog.clock.now(), seal)

        return await services.catalog.write(in_transaction)

    return with_services(run)


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
    from entrepot.server.access.secrets.passwords import check_new_password

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
