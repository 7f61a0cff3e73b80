"""`entrepot admin user`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config, as_operator
from entrepot.cli.commands.admin.accounts import moment, print_rows, read_password, show_secret
from entrepot.cli.options import format_option

SYSTEM_ROLES = click.Choice(["admin", "auditor", "none"])


@click.group("user", short_help="Users of the registry")
def user() -> None:
    """Users of the registry: who may sign in, and what they are besides their grants."""


@user.command("create", short_help="Make a user")
@click.argument("name")
@click.option("--admin", is_flag=True, help="May do everything.")
@click.option("--auditor", is_flag=True, help="May read everything, change nothing.")
@click.option("--email", default="", help="Shown to members of the same projects.")
@click.option("--display-name", default="", help="Shown on the pages.")
@click.option("--may-create-projects", is_flag=True, help="May create projects, by pushing too.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--invite", is_flag=True, help="Print a link with which they choose their password.")
def create(
    name: str,
    admin: bool,
    auditor: bool,
    email: str,
    display_name: str,
    may_create_projects: bool,
    password_stdin: bool,
    invite: bool,
) -> None:
    """Make user NAME. Asks for a password unless --password-stdin or --invite is given."""
    from entrepot.server.access.decision.model import SystemRole
    from entrepot.server.control import users

    given: dict[str, Any] = {
        "name": name,
        "email": email,
        "display_name": display_name,
        "system_role": SystemRole.ADMIN if admin else SystemRole.AUDITOR if auditor else None,
        "may_create_projects": may_create_projects,
    }
    if invite:
        invited = as_operator(lambda services, actor: users.invite_user(services, actor, **given))
        _print_link(invited.account.name, invited.secret)
        return
    password = read_password(password_stdin, name)
    made = as_operator(lambda services, actor: users.create_user(services, actor, password=password, **given))
    click.echo(made.name)


@user.command("list", short_help="List users")
@format_option()
def list_(format_: str | None) -> None:
    """List users."""
    from entrepot.server.control import users

    found = as_operator(
        lambda services, actor: users.list_users(services, actor, n=100_000), with_accounts=False
    )
    rows = [_row(account) for account in found]
    print_rows(("name", "enabled", "system_role", "source", "email", "last_used"), rows, format_)


@user.command("show", short_help="Show a user and their grants")
@click.argument("name")
@format_option()
def show(name: str, format_: str | None) -> None:
    """Show user NAME with grants and teams."""
    from entrepot.server.control import users

    found = as_operator(
        lambda services, actor: users.show_user_details(services, actor, name), with_accounts=False
    )
    row = {
        **_row(found.account),
        "teams": [team.name for team in found.teams],
        "grants": [f"{g.role} in {g.repositories or g.project}" for g in found.grants],
    }
    print_rows(("name", "enabled", "system_role", "source", "teams", "grants"), [row], format_)


@user.command("set", short_help="Change a user")
@click.argument("name")
@click.option("--system-role", type=SYSTEM_ROLES, help="admin, auditor or none.")
@click.option("--enable/--disable", "enabled", default=None, help="A disabled user is refused at once.")
@click.option("--may-create-projects/--may-not-create-projects", default=None)
@click.option("--email")
@click.option("--display-name")
def set_(
    name: str,
    system_role: str | None,
    enabled: bool | None,
    may_create_projects: bool | None,
    email: str | None,
    display_name: str | None,
) -> None:
    """Change user NAME."""
    from entrepot.server.control import users

    given = {
        "enabled": enabled,
        "may_create_projects": may_create_projects,
        "email": email,
        "display_name": display_name,
    }
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if system_role is not None:
        changes["system_role"] = None if system_role == "none" else system_role
    as_operator(lambda services, actor: users.change_user(services, actor, name, changes))
    click.echo(name)


@user.command("password", short_help="Set a user's password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--link", is_flag=True, help="Print a link with which they choose it themselves.")
def password(name: str, password_stdin: bool, link: bool) -> None:
    """Set the password of user NAME; sessions and log-ins made before end."""
    from entrepot.server.control import users

    if link:
        secret = as_operator(lambda services, actor: users.make_setup_link(services, actor, name))
        _print_link(name, secret)
        return
    new = read_password(password_stdin, name)
    as_operator(lambda services, actor: users.set_password(services, actor, name, new))
    click.echo(name)


@user.command("unlock", short_help="Let a user try to sign in again at once")
@click.argument("name")
def unlock(name: str) -> None:
    """Forget the failed sign-ins of user NAME, and those of the addresses they came from."""
    from entrepot.server.control import users

    as_operator(lambda services, actor: users.unlock_user(services, actor, name))
    click.echo(name)


@user.command("link", short_help="Let a user sign in through a source")
@click.argument("name")
@click.argument("source")
@click.argument("subject")
def link(name: str, source: str, subject: str) -> None:
    """Let the person SUBJECT (their id at SOURCE) sign in as user NAME."""
    from entrepot.server.control import users

    as_operator(
        lambda services, actor: users.link_identity(services, actor, name, source=source, subject=subject)
    )
    click.echo(name)


@user.command("delete", short_help="Delete a user")
@click.argument("name")
def delete(name: str) -> None:
    """Delete user NAME with tokens, memberships and grants. What they pushed stays."""
    from entrepot.server.control import users

    as_operator(lambda services, actor: users.delete_user(services, actor, name))
    click.echo(name)


def _print_link(name: str, secret: str) -> None:
    base = admin_config().server.public_url.rstrip("/") or "http://localhost:5000"
    show_secret(f"{base}/setup?token={secret}", f"{name} chooses a password here within a day")


def _row(account: Any) -> dict[str, Any]:
    return {
        **asdict(account),
        "last_used": moment(account.last_used_at),
        "created": moment(account.created_at),
    }
