"""`entrepot admin project`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import print_rows
from entrepot.cli.options import format_option
from entrepot.cli.output import human_size

VISIBILITY = click.Choice(["private", "signed-in", "public"])


@click.group("project", short_help="Projects: the first part of a repository's name")
def project() -> None:
    """Projects: the first part of a repository's name; they hold members, robots and a quota."""


@project.command("create", short_help="Make a project")
@click.argument("name")
@click.option("--visibility", type=VISIBILITY, default="private", show_default=True)
@click.option("--owner", metavar="USER", help="A user who owns it.")
@click.option("--quota", type=int, metavar="BYTES")
def create(name: str, visibility: str, owner: str | None, quota: int | None) -> None:
    """Make project NAME."""
    from entrepot.server.control import projects

    made = as_operator(
        lambda services, actor: projects.create_project(
            services, actor, name=name, visibility=visibility, quota_bytes=quota, owner=owner
        )
    )
    click.echo(made.name)


@project.command("list", short_help="List projects")
@format_option()
def list_(format_: str | None) -> None:
    """List projects."""
    from entrepot.server.control import projects

    rows = []
    for found in as_operator(lambda services, actor: projects.list_projects(services, actor, n=100_000)):
        usage = found.usage_bytes if format_ == "json" else human_size(found.usage_bytes or 0)
        rows.append({**asdict(found), "usage": usage, "quota": found.quota_bytes})
    print_rows(("name", "visibility", "repositories", "usage", "quota"), rows, format_)


@project.command("set", short_help="Change a project")
@click.argument("name")
@click.option("--visibility", type=VISIBILITY)
@click.option("--quota", metavar="BYTES", help="A number of bytes, or none.")
def set_(name: str, visibility: str | None, quota: str | None) -> None:
    """Change project NAME."""
    from entrepot.server.control import projects

    changes: dict[str, Any] = {}
    if visibility is not None:
        changes["visibility"] = visibility
    if quota is not None:
        if quota != "none" and not quota.isdigit():
            raise click.BadParameter(f"{quota!r} is no number of bytes")
        changes["quota_bytes"] = None if quota == "none" else int(quota)
    as_operator(lambda services, actor: projects.change_project(services, actor, name, changes))
    click.echo(name)


@project.command("delete", short_help="Delete a project with all its repositories")
@click.argument("name")
def delete(name: str) -> None:
    """Delete project NAME; `entrepot admin undo --project NAME` brings it back within the undo window."""
    from entrepot.server.control import projects

    as_operator(lambda services, actor: projects.delete_project(services, actor, name))
    click.echo(name)


@project.command("creation", short_help="Say who may create projects by pushing")
@click.argument("who", type=click.Choice(["admins", "signed-in"]))
def creation(who: str) -> None:
    """Let only admins (and users granted it) create projects by pushing, or any signed-in user."""
    from entrepot.server.control.settings import change_settings

    as_operator(lambda services, actor: change_settings(services, actor, project_creation=who))
    click.echo(who)
