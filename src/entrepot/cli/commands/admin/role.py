"""`entrepot admin role`."""

from __future__ import annotations

from dataclasses import asdict

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import print_rows
from entrepot.cli.options import format_option


@click.group("role", short_help="Roles: named sets of actions")
def role() -> None:
    """Roles: named sets of actions. Five are built in: viewer, puller, developer, maintainer, owner."""


@role.command("list", short_help="List roles with their actions")
@format_option()
def list_(format_: str | None) -> None:
    """List roles."""
    from entrepot.server.control import roles

    found = as_operator(roles.list_roles, with_accounts=False)
    print_rows(("name", "builtin", "actions", "description"), [asdict(one) for one in found], format_)


@role.command("create", short_help="Make a custom role")
@click.argument("name")
@click.argument("actions", nargs=-1, required=True)
@click.option("--description", default="")
def create(name: str, actions: tuple[str, ...], description: str) -> None:
    """Make role NAME that holds ACTIONS, as: releaser pull push create-tag."""
    from entrepot.server.control import roles

    made = as_operator(
        lambda services, actor: roles.create_role(
            services, actor, name=name, actions=actions, description=description
        )
    )
    click.echo(made.name)


@role.command("set", short_help="Change a custom role's actions")
@click.argument("name")
@click.argument("actions", nargs=-1, required=True)
def set_(name: str, actions: tuple[str, ...]) -> None:
    """Let role NAME hold ACTIONS from now on."""
    from entrepot.server.control import roles

    as_operator(lambda services, actor: roles.change_role(services, actor, name, actions=actions))
    click.echo(name)


@role.command("delete", short_help="Delete a custom role")
@click.argument("name")
def delete(name: str) -> None:
    """Delete role NAME; no grant may use it."""
    from entrepot.server.control import roles

    as_operator(lambda services, actor: roles.delete_role(services, actor, name))
    click.echo(name)
