"""`entrepot admin source`: where people sign in besides built-in accounts."""

from __future__ import annotations

import sys
from typing import Any, cast

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import print_rows
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
    from entrepot.server.control import sources

    secret = sys.stdin.readline().rstrip("\r\n") if secret_stdin else None
    values = dict(item.partition("=")[::2] for item in settings)
    as_operator(
        lambda services, actor: sources.create_source(
            services,
            actor,
            name=name,
            kind=cast("sources.SourceKind", kind),
            settings=values,
            secret=secret,
        )
    )
    click.echo(name)


@source.command("list", short_help="List sign-in sources")
@format_option()
def list_(format_: str | None) -> None:
    """List sign-in sources."""
    from entrepot.server.control import sources

    rows: list[dict[str, Any]] = [
        {
            "name": s.name,
            "kind": s.kind,
            "enabled": s.enabled,
            "settings": [f"{key}={value}" for key, value in s.settings.items()],
        }
        for s in as_operator(sources.list_sources, with_accounts=False)
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
    from entrepot.server.control import sources

    as_operator(lambda services, actor: sources.delete_source(services, actor, name))
    click.echo(name)


def _set(name: str, enabled: bool) -> None:
    from entrepot.server.control import sources

    as_operator(lambda services, actor: sources.enable_source(services, actor, name, enabled=enabled))
    click.echo(name)
