"""`entrepot admin grant`."""

from __future__ import annotations

from dataclasses import asdict

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import print_rows
from entrepot.cli.options import format_option


@click.group("grant", short_help="Who has which role where")
def grant() -> None:
    """Grants: who has which role in which project, perhaps only for some repositories and tags."""


@grant.command("add", short_help="Give a role")
@click.argument("who")
@click.argument("role")
@click.argument("where")
@click.option("--tags", metavar="PATTERN", help="Only these tags, as v*.")
def add(who: str, role: str, where: str, tags: str | None) -> None:
    """Give ROLE to WHO (a user, a robot, or team:NAME) in WHERE: a project, or acme/app/** within one."""
    from entrepot.server.control import grants

    is_team = who.startswith("team:")
    given = as_operator(
        lambda services, actor: grants.give_role(
            services,
            actor,
            project=where.partition("/")[0],
            role=role,
            principal=None if is_team else who,
            team=who.removeprefix("team:") if is_team else None,
            repositories=where if "/" in where else None,
            tags=tags,
        )
    )
    click.echo(given.id)


@grant.command("list", short_help="List grants")
@click.option("--project", metavar="NAME", help="Only of this project.")
@click.option("--who", metavar="NAME", help="Only of this user or robot.")
@format_option()
def list_(project: str | None, who: str | None, format_: str | None) -> None:
    """List grants."""
    from entrepot.server.control import grants

    found = as_operator(
        lambda services, actor: grants.list_grants(services, actor, project=project, who=who, n=100_000)
    )
    rows = [{**asdict(grant), "who": grant.principal or f"team:{grant.team}"} for grant in found]
    print_rows(("id", "project", "who", "role", "repositories", "tags", "created_by"), rows, format_)


@grant.command("remove", short_help="Take a role away")
@click.argument("id_", metavar="ID", type=int)
def remove(id_: int) -> None:
    """Remove the grant with this number; it ends at once."""
    from entrepot.server.control import grants

    as_operator(lambda services, actor: grants.take_role(services, actor, id_))
