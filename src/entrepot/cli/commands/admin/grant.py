"""`entrepot admin grant`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.commands.admin.accounts import change, look, print_rows
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
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.directory.grants import add_grant
    from entrepot.server.access.directory.projects import get_project
    from entrepot.server.access.directory.teams import get_team

    def write(connection: Any, by: Any, now: int) -> Any:
        project = get_project(connection, where.partition("/")[0])
        subject = (
            {"team_id": get_team(connection, who.removeprefix("team:")).id}
            if who.startswith("team:")
            else {"principal_id": get_account(connection, who).id}
        )
        return add_grant(
            connection,
            by,
            now=now,
            project_id=project.id,
            role_name=role,
            repositories=where if "/" in where else None,
            tags=tags,
            **subject,
        )

    click.echo(change(write).id)


@grant.command("list", short_help="List grants")
@click.option("--project", metavar="NAME", help="Only of this project.")
@click.option("--who", metavar="NAME", help="Only of this user or robot.")
@format_option()
def list_(project: str | None, who: str | None, format_: str | None) -> None:
    """List grants."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.directory.grants import list_grants
    from entrepot.server.access.directory.projects import get_project

    def read(connection: Any) -> list[dict[str, Any]]:
        found = list_grants(
            connection,
            project_id=get_project(connection, project).id if project else None,
            principal_id=get_account(connection, who).id if who else None,
            n=100_000,
        )
        return [{**asdict(g), "who": g.principal or f"team:{g.team}"} for g in found]

    print_rows(("id", "project", "who", "role", "repositories", "tags", "created_by"), look(read), format_)


@grant.command("remove", short_help="Take a role away")
@click.argument("id_", metavar="ID", type=int)
def remove(id_: int) -> None:
    """Remove the grant with this number; it ends at once."""
    from entrepot.server.access.directory.grants import get_grant, remove_grant

    change(lambda connection, by, now: remove_grant(connection, by, get_grant(connection, id_), now=now))
    click.echo(id_)
