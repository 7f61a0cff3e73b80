"""Personal access tokens and what else there is to sign in with: one's own, and those of others.

The secret of a token is in the answer to whoever made it, and nowhere else. One that is revoked is refused at
once, and so are bearer tokens made with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.accounts import Account, get_account
from entrepot.server.access.secrets import access_tokens as rows
from entrepot.server.access.secrets.access_tokens import AccessToken
from entrepot.server.control.account import own_account
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "AccessToken",
    "MintedToken",
    "create_own_token",
    "create_token_of_user",
    "list_credentials",
    "list_own_tokens",
    "list_tokens_of_user",
    "revoke_own_token",
    "revoke_token",
]

_LASTING = ("pat", "rob", "ref", "ses")
"""Kinds: personal tokens, secrets of robots, log-ins of clients, sessions of browsers."""


@dataclass(frozen=True, slots=True)
class MintedToken:
    """A token with its secret, which is nowhere else."""

    token: AccessToken
    secret: str


async def list_own_tokens(
    services: Services, actor: Actor, *, last: str = "", n: int = 100
) -> list[AccessToken]:
    """Personal access tokens by id, after `last`."""

    def see(t: Transaction) -> list[AccessToken]:
        return rows.list_tokens(t.connection, owner_id=own_account(t).id, last=last, n=n)

    return await look(services, actor, see)


async def create_own_token(
    services: Services,
    actor: Actor,
    *,
    name: str,
    actions: Iterable[str] | None = None,
    repositories: Iterable[str] | None = None,
    expires_at: int | None = None,
) -> MintedToken:
    """For all that its owner may, or these `actions` (None: all) in these `repositories` (patterns) alone.

    In person only. Raises InvalidName (no such action), InvalidPattern.
    """

    def do(t: Transaction) -> MintedToken:
        t.require_in_person()
        return _mint(t, own_account(t), name, actions, repositories, expires_at)

    return await change(services, actor, do)


async def revoke_own_token(services: Services, actor: Actor, token: str, *, personal: bool = False) -> None:
    """Raises Unknown, also for somebody else's; with `personal` InvalidInput when it is no such token."""

    def do(t: Transaction) -> None:
        found = rows.get_token(t.connection, token, owner_id=own_account(t).id)
        if personal and found.kind != "pat":
            raise InvalidInput("that is another kind of credential")
        rows.revoke(t.connection, t.actor, found, now=t.now)

    await change(services, actor, do)


async def list_tokens_of_user(
    services: Services, actor: Actor, user: str, *, last: str = "", n: int = 100
) -> list[AccessToken]:
    """Personal access tokens by id, after `last`. Raises Unknown."""

    def see(t: Transaction) -> list[AccessToken]:
        t.require(Action.READ_SYSTEM)
        owner = get_account(t.connection, user, kind="user")
        return rows.list_tokens(t.connection, owner_id=owner.id, last=last, n=n)

    return await look(services, actor, see)


async def list_credentials(services: Services, actor: Actor, who: str, *, n: int = 1000) -> list[AccessToken]:
    """All that a user or robot can sign in with but the password, by id. Raises Unknown."""

    def see(t: Transaction) -> list[AccessToken]:
        t.require(Action.READ_SYSTEM)
        owner = get_account(t.connection, who)
        return rows.list_tokens(t.connection, owner_id=owner.id, kinds=_LASTING, n=n)

    return await look(services, actor, see)


async def create_token_of_user(
    services: Services,
    actor: Actor,
    user: str,
    *,
    name: str,
    actions: Iterable[str] | None = None,
    repositories: Iterable[str] | None = None,
    expires_at: int | None = None,
) -> MintedToken:
    """As `create_own_token`, for somebody else, whoever holds it being them. Raises Unknown besides."""

    def do(t: Transaction) -> MintedToken:
        t.require(Action.MANAGE_SYSTEM)
        t.require_in_person()
        owner = get_account(t.connection, user, kind="user")
        return _mint(t, owner, name, actions, repositories, expires_at)

    return await change(services, actor, do)


async def revoke_token(services: Services, actor: Actor, token: str, *, user: str | None = None) -> None:
    """Of anybody; with `user` one of another owner is not found. Raises Unknown."""

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        owner = get_account(t.connection, user, kind="user").id if user is not None else None
        rows.revoke(t.connection, t.actor, rows.get_token(t.connection, token, owner_id=owner), now=t.now)

    await change(services, actor, do)


def _mint(
    t: Transaction,
    owner: Account,
    name: str,
    actions: Iterable[str] | None,
    repositories: Iterable[str] | None,
    expires_at: int | None,
) -> MintedToken:
    secret = rows.mint(
        t.connection,
        t.actor,
        now=t.now,
        kind="pat",
        owner_id=owner.id,
        owner=owner.name,
        name=name,
        actions=actions,
        repositories=repositories,
        expires_at=expires_at,
    )
    return MintedToken(rows.get_token(t.connection, secret.public_id), str(secret.text))
