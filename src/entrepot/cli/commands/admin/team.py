"""`entrepot admin team`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.commands.admin.accounts import change, look, print_rows
from entrepot.cli.options import format_option


@click.group("team", short_help="Teams: groups of users that hold grants")
def team() -> None:
    """Teams: groups of users and robots that hold grants together."""


@team.command("create", short_help="Make a team")
@click.argument("name")
@click.option("--description", default="")
@click.option(
    "--follows", metavar="SOURCE:GROUP", help="Members come and go with this group of a sign-in source."
)
def create(name: str, description: str, follows: str | None) -> None:
    """Make team NAME."""
    from entrepot.server.access.directory.teams import create_team

    made = change(
        lambda connection, by, now: create_team(
            connection, by, now=now, name=name, description=description, external_group=follows
        )
    )
    click.echo(made.name)


@team.command("list", short_help="List teams")
@format_option()
def list_(format_: str | None) -> None:
    """List teams."""
    from entrepot.server.access.directory.teams import list_members, list_teams

    def read(connection: Any) -> list[dict[str, Any]]:
        return [
            {**asdict(found), "members": [m.name for m in list_members(connection, found)]}
            for found in list_teams(connection, n=100_000)
        ]

    print_rows(("name", "members", "external_group", "description"), look(read), format_)


def _membership(name: str, member: str, adding: bool) -> None:
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.directory.teams import add_member, get_team, remove_member

    def write(connection: Any, by: Any, now: int) -> None:
        found, account = get_team(connection, name), get_account(connection, member)
        act = add_member if adding else remove_member
        act(connection, by, found, account.id, account.name, now=now)

    change(write)
    click.echo(member)


@team.command("add", short_help="Add a member")
@click.argument("name")
@click.argument("member")
def add(name: str, member: str) -> None:
    """Add MEMBER to team NAME."""
    _membership(name, member, True)


@team.command("remove", short_help="Remove a member")
@click.argument("name")
@click.argument("member")
def remove(name: str, member: str) -> None:
    """Remove MEMBER from team NAME."""
    _membership(name, member, False)


@team.command("delete", short_help="Delete a team")
@click.argument("name")
def delete(name: str) -> None:
    """Delete team NAME with its grants."""
    from entrepot.server.access.directory.teams import delete_team, get_team

    change(lambda connection, by, now: delete_team(connection, by, get_team(connection, name), now=now))
    click.echo(name)
