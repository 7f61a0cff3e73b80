"""`entrepot admin robot`."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import moment, parse_expiry, print_rows, show_secret
from entrepot.cli.options import format_option

if TYPE_CHECKING:
    from entrepot.server.access.decision.actor import Actor
    from entrepot.server.control import robots
    from entrepot.server.control.services import Services


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
    from entrepot.server.control import robots

    made = as_operator(
        lambda services, actor: robots.create_robot(
            services,
            actor,
            name=name,
            role=role,
            repositories=repositories,
            tags=tags,
            description=description,
            expires_at=parse_expiry(expires, services.now),
        )
    )
    show_secret(made.secret, f"The secret of {name}")


@robot.command("rotate", short_help="Give a robot a new secret")
@click.argument("name")
@click.option("--overlap", metavar="TIME", default="0m", help="How long the old secret works on, as 1h.")
def rotate(name: str, overlap: str) -> None:
    """Print a new secret for robot NAME."""
    from entrepot.server.control import robots

    def rotated(services: Services, actor: Actor) -> Awaitable[robots.RobotSecret]:
        until = parse_expiry(overlap, services.now) or services.now
        return robots.rotate_secret(services, actor, name, overlap=until - services.now)

    show_secret(as_operator(rotated).secret, f"The new secret of {name}")


@robot.command("list", short_help="List robots")
@format_option()
def list_(format_: str | None) -> None:
    """List robots."""
    from entrepot.server.control import robots

    rows = [
        {**asdict(found), "expires": moment(found.expires_at), "last_used": moment(found.last_used_at)}
        for found in as_operator(lambda services, actor: robots.list_robots(services, actor, n=100_000))
    ]
    print_rows(("name", "enabled", "expires", "last_used", "description"), rows, format_)


@robot.command("set", short_help="Enable, disable or let a robot expire")
@click.argument("name")
@click.option("--enable/--disable", "enabled", default=None)
@click.option("--expires", metavar="WHEN", help="30d, 12h, never, or a date.")
def set_(name: str, enabled: bool | None, expires: str | None) -> None:
    """Change robot NAME."""
    from entrepot.server.control import robots

    def changed(services: Services, actor: Actor) -> Awaitable[robots.Account]:
        changes: dict[str, Any] = {} if enabled is None else {"enabled": enabled}
        if expires is not None:
            changes["expires_at"] = parse_expiry(expires, services.now)
        return robots.change_robot(services, actor, name, changes)

    as_operator(changed)
    click.echo(name)


@robot.command("delete", short_help="Delete a robot")
@click.argument("name")
def delete(name: str) -> None:
    """Delete robot NAME; it is refused at once."""
    from entrepot.server.control import robots

    as_operator(lambda services, actor: robots.delete_robot(services, actor, name))
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
    from entrepot.server.control import robots

    parsed = dict(claim.partition("=")[::2] for claim in claims)
    number = as_operator(
        lambda services, actor: robots.trust_jobs(
            services, actor, name, issuer=issuer, audience=audience, claims=parsed
        )
    )
    click.echo(number)


@robot.command("trusts", short_help="List what lets CI jobs in")
@click.argument("name")
@format_option()
def trusts(name: str, format_: str | None) -> None:
    """List the rules of robot NAME."""
    from entrepot.server.control import robots

    rows = [
        {
            "id": r.id,
            "issuer": r.issuer,
            "audience": r.audience,
            "claims": [f"{k}={v}" for k, v in r.claims.items()],
        }
        for r in as_operator(lambda services, actor: robots.list_trusts(services, actor, name))
    ]
    print_rows(("id", "issuer", "audience", "claims"), rows, format_)


@robot.command("distrust", short_help="Take a rule for CI jobs back")
@click.argument("name")
@click.argument("rule", type=int)
def distrust(name: str, rule: int) -> None:
    """Remove RULE of robot NAME."""
    from entrepot.server.control import robots

    as_operator(lambda services, actor: robots.distrust_jobs(services, actor, name, rule))
    click.echo(rule)
