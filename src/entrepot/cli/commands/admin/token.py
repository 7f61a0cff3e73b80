"""`entrepot admin token`: personal access tokens, and the keys that sign bearer tokens."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from entrepot.cli.commands.admin import admin_config, as_operator, operator
from entrepot.cli.commands.admin.accounts import moment, parse_expiry, print_rows, show_secret
from entrepot.cli.options import format_option

if TYPE_CHECKING:
    from entrepot.server.control.signing_keys import ReplacedKeys, SignInSource


@click.group("token", short_help="Personal access tokens and signing keys")
def token() -> None:
    """Personal access tokens of users, and the keys that sign bearer tokens."""


@token.command("create", short_help="Make a personal access token")
@click.argument("user")
@click.option("--name", default="", help="What it is for.")
@click.option(
    "--action",
    "actions",
    multiple=True,
    metavar="ACTION",
    help="Only these, as pull; default: all the user has.",
)
@click.option("--repositories", multiple=True, metavar="PATTERN", help="Only these, as acme/app/**.")
@click.option("--expires", metavar="WHEN", default="90d", show_default=True, help="30d, never, or a date.")
def create(
    user: str, name: str, actions: tuple[str, ...], repositories: tuple[str, ...], expires: str
) -> None:
    """Make a token for USER and print it."""
    from entrepot.server.control import tokens

    made = as_operator(
        lambda services, actor: tokens.create_token_of_user(
            services,
            actor,
            user,
            name=name,
            actions=actions or None,
            repositories=repositories or None,
            expires_at=parse_expiry(expires, services.now),
        )
    )
    show_secret(made.secret, f"A token of {user}")


@token.command("list", short_help="List a user's or robot's tokens")
@click.argument("user")
@format_option()
def list_(user: str, format_: str | None) -> None:
    """List the tokens of USER."""
    from entrepot.server.control import tokens

    credentials = as_operator(
        lambda services, actor: tokens.list_credentials(services, actor, user), with_accounts=False
    )
    kinds = {"pat": "token", "rob": "secret", "ref": "log-in", "ses": "session"}
    rows = [
        {
            "id": found.id,
            "kind": kinds[found.kind],
            "name": found.name,
            "actions": found.actions,
            "repositories": found.repositories,
            "expires": moment(found.expires_at),
            "last_used": moment(found.last_used_at),
            "from": found.last_address,
        }
        for found in credentials
    ]
    print_rows(
        ("id", "kind", "name", "actions", "repositories", "expires", "last_used", "from"), rows, format_
    )


@token.command("revoke", short_help="Revoke a token")
@click.argument("id_", metavar="ID")
def revoke(id_: str) -> None:
    """Revoke the token with this id; it is refused at once."""
    from entrepot.server.control import tokens

    as_operator(lambda services, actor: tokens.revoke_token(services, actor, id_))
    click.echo(id_)


@token.command("certificates", short_help="Print the certificates that verify bearer tokens")
def certificates() -> None:
    """Print the certificates for a Docker Registry's `rootcertbundle`."""
    from entrepot.server.control import signing_keys

    click.echo(as_operator(signing_keys.list_certificates), nl=False)


@token.command("rotate-key", short_help="Start signing with a new key")
@click.option(
    "--overlap", type=int, default=0, metavar="SECONDS", help="Believe the old key for at least this long."
)
@click.option(
    "--algorithm",
    type=click.Choice(["es256", "ed25519"]),
    help="What this registry's own tokens are signed with from then on; as now when left out.",
)
@click.option(
    "--key-file-lost",
    is_flag=True,
    help="The key file (access.key) is lost: forget what it sealed. Sign-in sources lose their secrets.",
)
def rotate_key(overlap: int, algorithm: str | None, key_file_lost: bool) -> None:
    """Make a new signing key. It takes over in two minutes; older tokens stay good until they expire."""
    if key_file_lost:
        _replace_what_was_sealed()
        return
    from entrepot.server.control import signing_keys

    chosen = signing_keys.Algorithm[algorithm.upper()] if algorithm else None
    key = as_operator(
        lambda services, actor: signing_keys.rotate_signing_key(
            services, actor, overlap_s=overlap, algorithm=chosen
        )
    )
    click.echo(key)


def _replace_what_was_sealed() -> None:
    import asyncio

    replaced = asyncio.run(_replaced())
    click.echo(replaced.key)
    for source in replaced.unreadable:
        click.echo(f"{source.name}: its secret is lost; remove it and add it again:")
        click.echo(f"  entrepot admin source remove {source.name}")
        click.echo(f"  entrepot admin source add {source.name} {source.kind} {_typed(source)} --secret-stdin")


def _typed(source: SignInSource) -> str:
    """The settings of a source as `source add` takes them."""
    values = {
        key: ",".join(value) if isinstance(value, list) else value for key, value in source.settings.items()
    }
    return " ".join(shlex.quote(f"{key}={value}") for key, value in values.items())


async def _replaced() -> ReplacedKeys:
    from entrepot.server.compose import opened_ground
    from entrepot.server.control.signing_keys import replace_lost_keys

    async with opened_ground(admin_config()) as ground:
        return await replace_lost_keys(ground, operator())
