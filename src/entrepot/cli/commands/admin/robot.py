"""`entrepot admin robot`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from entrepot.cli.commands.admin.accounts import (
    change,
    look,
    moment,
    parse_expiry,
    print_rows,
    show_secret,
)
from entrepot.cli.options import format_option
from entrepot.errors import InvalidInput


@click.group("robot", short_help="Machines that log in")
def robot() -> None:
    """Robots: names for machines, as acme+ci for project acme, or +ci for the whole registry."""


@robot.command("create", short_help="Make a robot and print its secret")
@click.argument("name")
@click.option("--role", default=None, metavar="ROLE", help="Grant this role in the robot's project.")
@click.option("--repositories", metavar="PATTERN", help="Only for these repositories, as acme/app/**.")
@click.option("--tags", metavar="PATTERN", help="Only for these tags, as v*.")
@click.option("--expires", metavar="WHEN", help="30d, 12h, never, or a date.")
@click.option("--description", default="")
def create(
    name: str,
    role: str | None,
    repositories: str | None,
    tags: str | None,
    expires: str | None,
    description: str,
) -> None:
    """Make robot NAME (PROJECT+NAME) and print its secret."""
    from entrepot.server.access.directory.accounts import create_robot
    from entrepot.server.access.directory.grants import add_grant
    from entrepot.server.access.secrets.access_tokens import rotate_robot_secret

    def write(connection: Any, by: Any, now: int) -> Any:
        made = create_robot(
            connection, by, now=now, name=name, description=description, expires_at=parse_expiry(expires, now)
        )
        if role is not None:
            if made.project_id is None:
                raise InvalidInput(
                    "a robot of the registry has no project of its own", hint="use: entrepot admin grant add"
                )
            add_grant(
                connection,
                by,
                now=now,
                project_id=made.project_id,
                role_name=role,
                principal_id=made.id,
                repositories=repositories,
                tags=tags,
            )
        return rotate_robot_secret(connection, by, now=now, robot_id=made.id, robot=made.name, overlap=0)

    secret = change(write)
    show_secret(secret.text, f"The secret of {name}")


@robot.command("rotate", short_help="Give a robot a new secret")
@click.argument("name")
@click.option("--overlap", metavar="TIME", default="0m", help="How long the old secret works on, as 1h.")
def rotate(name: str, overlap: str) -> None:
    """Print a new secret for robot NAME."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.secrets.access_tokens import rotate_robot_secret

    def write(connection: Any, by: Any, now: int) -> Any:
        found = get_account(connection, name, kind="robot")
        until = parse_expiry(overlap, now)
        return rotate_robot_secret(
            connection, by, now=now, robot_id=found.id, robot=name, overlap=(until or now) - now
        )

    show_secret(change(write).text, f"The new secret of {name}")


@robot.command("list", short_help="List robots")
@format_option()
def list_(format_: str | None) -> None:
    """List robots."""
    from entrepot.server.access.directory.accounts import list_accounts

    rows = [
        {**asdict(found), "expires": moment(found.expires_at), "last_used": moment(found.last_used_at)}
        for found in look(lambda c: list_accounts(c, kind="robot", n=100_000))
    ]
    print_rows(("name", "enabled", "expires", "last_used", "description"), rows, format_)


@robot.command("set", short_help="Enable, disable or let a robot expire")
@click.argument("name")
@click.option("--enable/--disable", "enabled", default=None)
@click.option("--expires", metavar="WHEN", help="30d, 12h, never, or a date.")
def set_(name: str, enabled: bool | None, expires: str | None) -> None:
    """Change robot NAME."""
    from entrepot.server.access.directory.accounts import change_account, get_account

    def write(connection: Any, by: Any, now: int) -> None:
        changes: dict[str, Any] = {} if enabled is None else {"enabled": enabled}
        if expires is not None:
            changes["expires_at"] = parse_expiry(expires, now)
        change_account(connection, by, get_account(connection, name, kind="robot"), changes, now=now)

    change(write)
    click.echo(name)


@robot.command("delete", short_help="Delete a robot")
@click.argument("name")
def delete(name: str) -> None:
    """Delete robot NAME; it is refused at once."""
    from entrepot.server.access.directory.accounts import delete_account, get_account

    change(
        lambda connection, by, now: delete_account(
            connection, by, get_account(connection, name, kind="robot"), now=now
        )
    )
    click.echo(name)


@robot.command("trust", short_help="Let CI jobs in without a secret")
@click.argument("name")
@click.option(
    "--issuer", required=True, metavar="URL", help="As https://token.actions.githubusercontent.com."
)
@click.option(
    "--claim", "claims", multiple=True, required=True, metavar="NAME=GLOB", help="As repository=acme/app."
)
@click.option("--audience", default="entrepot", show_default=True)
def trust(name: str, issuer: str, claims: tuple[str, ...], audience: str) -> None:
    """Let jobs whose OIDC token has these claims log in as robot NAME, with the token as password."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.sign_in.workload import add_rule

    parsed = dict(claim.partition("=")[::2] for claim in claims)
    rule_id = change(
        lambda connection, by, now: add_rule(
            connection,
            by,
            now=now,
            robot_id=get_account(connection, name, kind="robot").id,
            issuer=issuer,
            audience=audience,
            claims=parsed,
        )
    )
    click.echo(rule_id)


@robot.command("trusts", short_help="List what lets CI jobs in")
@click.argument("name")
@format_option()
def trusts(name: str, format_: str | None) -> None:
    """List the rules of robot NAME."""
    from entrepot.server.access.sign_in.workload import list_rules

    rows = [
        {
            "id": r.id,
            "issuer": r.issuer,
            "audience": r.audience,
            "claims": [f"{k}={v}" for k, v in r.claims.items()],
        }
        for r in look(lambda c: list_rules(c, robot=name))
    ]
    print_rows(("id", "issuer", "audience", "claims"), rows, format_)


@robot.command("distrust", short_help="Take a rule for CI jobs back")
@click.argument("name")
@click.argument("rule", type=int)
def distrust(name: str, rule: int) -> None:
    """Remove RULE of robot NAME."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.sign_in.workload import remove_rule

    change(
        lambda connection, by, now: remove_rule(
            connection, by, rule, robot_id=get_account(connection, name, kind="robot").id, now=now
        )
    )
    click.echo(rule)
