"""`entrepot admin user`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.commands.admin.accounts import change, look, moment, print_rows, read_password, show_secret
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
    from entrepot.server.access.directory.accounts import create_user
    from entrepot.server.access.secrets.passwords import hash_password

    role = SystemRole.ADMIN if admin else SystemRole.AUDITOR if auditor else None
    hashed = None if invite else hash_password(read_password(password_stdin, name))
    made = change(
        lambda connection, by, now: create_user(
            connection,
            by,
            now=now,
            name=name,
            password_hash=hashed,
            email=email,
            display_name=display_name,
            system_role=role,
            may_create_projects=may_create_projects,
        )
    )
    if invite:
        _print_link(made.name)
    else:
        click.echo(made.name)


@user.command("list", short_help="List users")
@format_option()
def list_(format_: str | None) -> None:
    """List users."""
    from entrepot.server.access.directory.accounts import list_accounts

    rows = [_row(account) for account in look(lambda c: list_accounts(c, kind="user", n=100_000))]
    print_rows(("name", "enabled", "system_role", "source", "email", "last_used"), rows, format_)


@user.command("show", short_help="Show a user and their grants")
@click.argument("name")
@format_option()
def show(name: str, format_: str | None) -> None:
    """Show user NAME with grants and teams."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.directory.grants import list_grants
    from entrepot.server.access.directory.teams import list_teams

    def read(connection: Any) -> dict[str, Any]:
        account = get_account(connection, name, kind="user")
        grants = list_grants(connection, principal_id=account.id)
        teams = list_teams(connection, member_id=account.id, n=1000)
        return {
            **_row(account),
            "teams": [team.name for team in teams],
            "grants": [f"{g.role} in {g.repositories or g.project}" for g in grants],
        }

    print_rows(("name", "enabled", "system_role", "source", "teams", "grants"), [look(read)], format_)


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
    from entrepot.server.access.directory.accounts import change_account, get_account

    given = {
        "enabled": enabled,
        "may_create_projects": may_create_projects,
        "email": email,
        "display_name": display_name,
    }
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if system_role is not None:
        changes["system_role"] = None if system_role == "none" else system_role
    change(
        lambda connection, by, now: change_account(
            connection, by, get_account(connection, name, kind="user"), changes, now=now
        )
    )
    click.echo(name)


@user.command("password", short_help="Set a user's password")
@click.argument("name")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@click.option("--link", is_flag=True, help="Print a link with which they choose it themselves.")
def password(name: str, password_stdin: bool, link: bool) -> None:
    """Set the password of user NAME; sessions and log-ins made before end."""
    from entrepot.server.access.directory.accounts import get_account, set_password_hash
    from entrepot.server.access.secrets.passwords import hash_password

    if link:
        _print_link(name)
        return
    hashed = hash_password(read_password(password_stdin, name))
    change(
        lambda connection, by, now: set_password_hash(
            connection, by, get_account(connection, name, kind="user"), hashed, now=now
        )
    )
    click.echo(name)


@user.command("unlock", short_help="Let a user try to sign in again at once")
@click.argument("name")
def unlock(name: str) -> None:
    """Forget the failed sign-ins of user NAME, and those of the addresses they came from."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.sign_in.attempts import forget

    change(
        lambda connection, by, now: forget(
            connection, by, get_account(connection, name, kind="user").name, now=now
        )
    )
    click.echo(name)


@user.command("link", short_help="Let a user sign in through a source")
@click.argument("name")
@click.argument("source")
@click.argument("subject")
def link(name: str, source: str, subject: str) -> None:
    """Let the person SUBJECT (their id at SOURCE) sign in as user NAME."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.sign_in.linking import link_identity

    change(
        lambda connection, by, now: link_identity(
            connection, by, get_account(connection, name, kind="user"), source, subject, now=now
        )
    )
    click.echo(name)


@user.command("delete", short_help="Delete a user")
@click.argument("name")
def delete(name: str) -> None:
    """Delete user NAME with tokens, memberships and grants. What they pushed stays."""
    from entrepot.server.access.directory.accounts import delete_account, get_account

    change(
        lambda connection, by, now: delete_account(
            connection, by, get_account(connection, name, kind="user"), now=now
        )
    )
    click.echo(name)


def _print_link(name: str) -> None:
    from entrepot.server.access.directory.first_start import setup_link

    secret = change(lambda connection, by, now: setup_link(connection, by, name, now))
    base = admin_config().server.public_url.rstrip("/") or "http://localhost:5000"
    show_secret(f"{base}/setup?token={secret}", f"{name} chooses a password here within a day")


def _row(account: Any) -> dict[str, Any]:
    return {
        **asdict(account),
        "last_used": moment(account.last_used_at),
        "created": moment(account.created_at),
    }
