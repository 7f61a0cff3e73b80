"""`entrepot admin team`."""

from __future__ import annotations

from dataclasses import asdict

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import print_rows
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
    from entrepot.server.control import teams

    made = as_operator(
        lambda services, actor: teams.create_team(
            services, actor, name=name, description=description, external_group=follows
        )
    )
    click.echo(made.name)


@team.command("list", short_help="List teams")
@format_option()
def list_(format_: str | None) -> None:
    """List teams."""
    from entrepot.server.control import teams

    found = as_operator(
        lambda services, actor: teams.list_teams_with_members(services, actor, n=100_000),
        with_accounts=False,
    )
    rows = [{**asdict(one), "members": [member.name for member in members]} for one, members in found]
    print_rows(("name", "members", "external_group", "description"), rows, format_)


@team.command("add", short_help="Add a member")
@click.argument("name")
@click.argument("member")
def add(name: str, member: str) -> None:
    """Add MEMBER to team NAME."""
    from entrepot.server.control import teams

    as_operator(lambda services, actor: teams.add_member(services, actor, name, member))
    click.echo(member)


@team.command("remove", short_help="Remove a member")
@click.argument("name")
@click.argument("member")
def remove(name: str, member: str) -> None:
    """Remove MEMBER from team NAME."""
    from entrepot.server.control import teams

    as_operator(lambda services, actor: teams.remove_member(services, actor, name, member))
    click.echo(member)


@team.command("delete", short_help="Delete a team")
@click.argument("name")
def delete(name: str) -> None:
    """Delete team NAME with its grants."""
    from entrepot.server.control import teams

    as_operator(lambda services, actor: teams.delete_team(services, actor, name))
    click.echo(name)
