"""`entrepot admin token`: personal access tokens, and the keys that sign bearer tokens."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.commands.admin import operator
from entrepot.cli.commands.admin.accounts import (
    change,
    change_sealed,
    look,
    moment,
    parse_expiry,
    print_rows,
    show_secret,
)
from entrepot.cli.options import format_option

if TYPE_CHECKING:
    from entrepot.server.access.sign_in.source_table import Source


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
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.secrets.access_tokens import mint

    def write(connection: Any, by: Any, now: int) -> Any:
        owner = get_account(connection, user, kind="user")
        return mint(
            connection,
            by,
            now=now,
            kind="pat",
            owner_id=owner.id,
            owner=owner.name,
            name=name,
            actions=actions or None,
            repositories=repositories or None,
            expires_at=parse_expiry(expires, now),
        )

    show_secret(change(write).text, f"A token of {user}")


@token.command("list", short_help="List a user's or robot's tokens")
@click.argument("user")
@format_option()
def list_(user: str, format_: str | None) -> None:
    """List the tokens of USER."""
    from entrepot.server.access.directory.accounts import get_account
    from entrepot.server.access.secrets.access_tokens import list_tokens

    def read(connection: Any) -> list[Any]:
        owner = get_account(connection, user)
        return list_tokens(connection, owner_id=owner.id, kinds=("pat", "rob", "ref", "ses"), n=1000)

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
        for found in look(read)
    ]
    print_rows(
        ("id", "kind", "name", "actions", "repositories", "expires", "last_used", "from"), rows, format_
    )


@token.command("revoke", short_help="Revoke a token")
@click.argument("id_", metavar="ID")
def revoke(id_: str) -> None:
    """Revoke the token with this id; it is refused at once."""
    from entrepot.server.access.secrets.access_tokens import get_token
    from entrepot.server.access.secrets.access_tokens import revoke as revoke_token

    change(lambda connection, by, now: revoke_token(connection, by, get_token(connection, id_), now=now))
    click.echo(id_)


@token.command("certificates", short_help="Print the certificates that verify bearer tokens")
def certificates() -> None:
    """Print the certificates for a Docker Registry's `rootcertbundle`."""
    from entrepot.server.access.secrets.signing_keys import load_keys

    text = change_sealed(lambda connection, _by, _now, seal: load_keys(connection, seal).certificates())
    click.echo(text, nl=False)


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
    from entrepot.cli.commands.admin import admin_config
    from entrepot.server.access.secrets.signing import Algorithm
    from entrepot.server.access.secrets.signing_keys import rotate_signing_key

    issuer = admin_config().access.issuer
    key = change_sealed(
        lambda connection, by, now, seal: rotate_signing_key(
            connection,
            by,
            seal,
            issuer=issuer,
            now=now,
            overlap_s=overlap,
            algorithm=Algorithm[algorithm.upper()] if algorithm else None,
        )
    )
    click.echo(key.kid)


def _replace_what_was_sealed() -> None:
    import asyncio

    kid, unreadable = asyncio.run(_replaced())
    click.echo(kid)
    for source in unreadable:
        click.echo(f"{source.name}: its secret is lost; remove it and add it again:")
        click.echo(f"  entrepot admin source remove {source.name}")
        click.echo(f"  entrepot admin source add {source.name} {source.kind} {_typed(source)} --secret-stdin")


def _typed(source: Source) -> str:
    """The settings of a source as `source add` takes them."""
    values = {
        key: ",".join(value) if isinstance(value, list) else value for key, value in source.settings.items()
    }
    return " ".join(shlex.quote(f"{key}={value}") for key, value in values.items())


async def _replaced() -> tuple[str, list[Source]]:
    """The new key's id, and the sources whose secrets are lost. Opens the catalog alone."""
    import asyncio

    from entrepot.cli.commands.admin import admin_config
    from entrepot.errors import InvalidInput
    from entrepot.server.access.secrets.sealing import SealBroken, SealKey
    from entrepot.server.access.secrets.signing_keys import load_keys, replace_signing_keys
    from entrepot.server.access.sign_in.source_table import disable_unreadable
    from entrepot.server.compose import access_settings, catalog_url, require_catalog
    from entrepot.server.db import check_schema, open_catalog

    config = admin_config()
    require_catalog(config)
    await asyncio.to_thread(check_schema, catalog_url(config))
    settings = access_settings(config)
    catalog = open_catalog(catalog_url(config))

    def replace(connection: Any, seal: SealKey) -> tuple[str, list[Source]]:
        try:
            load_keys(connection, seal)
        except SealBroken:
            now, by = catalog.clock.now(), operator()
            key = replace_signing_keys(connection, by, seal, issuer=settings.issuer, now=now)
            return key.kid, disable_unreadable(connection, by, seal, now=now)
        raise InvalidInput(
            "the key file opens what is sealed in the catalog, so it is not lost",
            hint="leave --key-file-lost out for a new signing key",
        )

    try:
        return await catalog.write(replace, SealKey.load_or_create(settings.seal_file))
    finally:
        await catalog.close()
