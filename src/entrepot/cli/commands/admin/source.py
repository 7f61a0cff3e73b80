"""`entrepot admin source`: where people sign in besides built-in accounts."""

from __future__ import annotations

import sys
from typing import Any, cast

import click

from entrepot.cli.commands.admin.accounts import change, change_sealed, look, print_rows
from entrepot.cli.options import format_option


@click.group("source", short_help="Sign-in sources: htpasswd, LDAP, OpenID Connect")
def source() -> None:
    """Sign-in sources: an htpasswd file, LDAP, OpenID Connect providers. Several at once are fine."""


@source.command("add", short_help="Add a sign-in source")
@click.argument("name")
@click.argument("kind", type=click.Choice(["htpasswd", "ldap", "oidc"]))
@click.argument("settings", nargs=-1, metavar="KEY=VALUE...")
@click.option(
    "--secret-stdin", is_flag=True, help="Read the client secret or bind password from standard input."
)
def add(name: str, kind: str, settings: tuple[str, ...], secret_stdin: bool) -> None:
    """Add source NAME of KIND, as: corp oidc issuer=https://id.example.org client_id=entrepot."""
    from entrepot.server.access.sign_in.source_table import SourceKind, add_source

    secret = sys.stdin.readline().rstrip("\r\n") if secret_stdin else None
    values = dict(item.partition("=")[::2] for item in settings)
    change_sealed(
        lambda connection, by, now, seal: add_source(
            connection,
            by,
            seal,
            now=now,
            name=name,
            kind=cast("SourceKind", kind),
            settings=values,
            secret=secret,
        )
    )
    click.echo(name)


@source.command("list", short_help="List sign-in sources")
@format_option()
def list_(format_: str | None) -> None:
    """List sign-in sources."""
    from entrepot.server.access.sign_in.source_table import list_sources

    rows: list[dict[str, Any]] = [
        {
            "name": s.name,
            "kind": s.kind,
            "enabled": s.enabled,
            "settings": [f"{key}={value}" for key, value in s.settings.items()],
        }
        for s in look(list_sources)
    ]
    print_rows(("name", "kind", "enabled", "settings"), rows, format_)


@source.command("enable", short_help="Let people sign in through a source again")
@click.argument("name")
def enable(name: str) -> None:
    """Enable source NAME."""
    _set(name, True)


@source.command("disable", short_help="Stop sign-ins through a source")
@click.argument("name")
def disable(name: str) -> None:
    """Disable source NAME."""
    _set(name, False)


@source.command("remove", short_help="Remove a sign-in source")
@click.argument("name")
def remove(name: str) -> None:
    """Remove source NAME; its users stay, but can't sign in through it."""
    from entrepot.server.access.sign_in.source_table import remove_source

    change(lambda connection, by, now: remove_source(connection, by, name, now=now))
    click.echo(name)


def _set(name: str, enabled: bool) -> None:
    from entrepot.server.access.sign_in.source_table import set_source_enabled

    change(lambda connection, by, now: set_source_enabled(connection, by, name, enabled=enabled, now=now))
    click.echo(name)
