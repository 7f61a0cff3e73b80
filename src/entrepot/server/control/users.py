"""Users as admins see and change them; what somebody does to their own account is in `account`.

Who makes a user that can sign in, gives a role in the registry, or lets somebody in as another user has to be
there in person: a token that could do this would make credentials that outlive it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action, SystemRole
from entrepot.server.access.directory import accounts as rows
from entrepot.server.access.directory.accounts import Account
from entrepot.server.access.directory.first_start import setup_link
from entrepot.server.access.directory.grants import GrantRow, list_grants
from entrepot.server.access.directory.teams import Team, list_teams
from entrepot.server.access.secrets.access_tokens import AccessToken, list_tokens
from entrepot.server.access.sign_in import attempts, linking
from entrepot.server.control.passwords import hash_new_password
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "Account",
    "Invitation",
    "UserDetails",
    "change_user",
    "create_user",
    "delete_user",
    "invite_user",
    "link_identity",
    "list_users",
    "make_setup_link",
    "set_password",
    "show_user",
    "show_user_details",
    "unlock_user",
]

MOST = 1000
"""Of each kind of thing that one user has and an answer shows."""


@dataclass(frozen=True, slots=True)
class UserDetails:
    account: Account
    tokens: list[AccessToken]
    """Personal ones and sessions that have not expired."""
    grants: list[GrantRow]
    teams: list[Team]


@dataclass(frozen=True, slots=True)
class Invitation:
    """A user who has no password yet, and the secret of the link with which they choose one: nowhere else."""

    account: Account
    secret: str


async def list_users(
    services: Services, actor: Actor, *, last: str = "", n: int = 100, contains: str = ""
) -> list[Account]:
    """By name, after `last`. `contains` is part of the name, display name or e-mail address."""

    def see(t: Transaction) -> list[Account]:
        t.require(Action.READ_SYSTEM)
        return rows.list_accounts(t.connection, kind="user", last=last, n=n, contains=contains)

    return await look(services, actor, see)


async def show_user(services: Services, actor: Actor, name: str) -> Account:
    """Raises Unknown."""

    def see(t: Transaction) -> Account:
        t.require(Action.READ_SYSTEM)
        return _user(t, name)

    return await look(services, actor, see)


async def show_user_details(services: Services, actor: Actor, name: str) -> UserDetails:
    """Raises Unknown."""

    def see(t: Transaction) -> UserDetails:
        t.require(Action.READ_SYSTEM)
        found = _user(t, name)
        tokens = list_tokens(t.connection, owner_id=found.id, kinds=("pat", "ses"), n=MOST)
        return UserDetails(
            found,
            [token for token in tokens if token.expires_at is None or token.expires_at > t.now],
            list_grants(t.connection, principal_id=found.id, n=MOST),
            list_teams(t.connection, member_id=found.id, n=MOST),
        )

    return await look(services, actor, see)


async def create_user(
    services: Services,
    actor: Actor,
    *,
    name: str,
    password: str | None = None,
    display_name: str = "",
    email: str = "",
    system_role: SystemRole | None = None,
    may_create_projects: bool = False,
) -> Account:
    """With a password or a role in the registry: in person only.

    Raises InvalidName, InvalidPassword, AlreadyExists, TooManyAttempts.
    """

    def allow(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        if password is not None or system_role is not None:
            t.require_in_person()

    hashed = None
    if password is not None:
        hashed = await _hashed(services, actor, allow, password, name)

    def do(t: Transaction) -> Account:
        allow(t)
        return rows.create_user(
            t.connection,
            t.actor,
            now=t.now,
            name=name,
            password_hash=hashed,
            display_name=display_name,
            email=email,
            system_role=system_role,
            may_create_projects=may_create_projects,
        )

    return await change(services, actor, do)


async def invite_user(
    services: Services,
    actor: Actor,
    *,
    name: str,
    display_name: str = "",
    email: str = "",
    system_role: SystemRole | None = None,
    may_create_projects: bool = False,
) -> Invitation:
    """They choose their password within a day. In person only. Raises InvalidName, AlreadyExists."""

    def do(t: Transaction) -> Invitation:
        t.require(Action.MANAGE_SYSTEM)
        t.require_in_person()
        made = rows.create_user(
            t.connection,
            t.actor,
            now=t.now,
            name=name,
            display_name=display_name,
            email=email,
            system_role=system_role,
            may_create_projects=may_create_projects,
        )
        return Invitation(made, str(setup_link(t.connection, t.actor, made.name, t.now)))

    return await change(services, actor, do)


async def change_user(
    services: Services,
    actor: Actor,
    name: str,
    changes: Mapping[str, Any],
    *,
    expected_version: int | None = None,
) -> Account:
    """`display_name`, `email`, `enabled`, `may_create_projects`; `system_role` in person only.

    Somebody disabled is refused from the next request on. Raises Unknown, VersionMismatch, Conflict (the last
    admin).
    """

    def do(t: Transaction) -> Account:
        t.require(Action.MANAGE_SYSTEM)
        if "system_role" in changes:
            t.require_in_person()
        return rows.change_account(
            t.connection, t.actor, _user(t, name), changes, now=t.now, expected_version=expected_version
        )

    return await change(services, actor, do)


async def delete_user(services: Services, actor: Actor, name: str) -> None:
    """With tokens, memberships and grants; what they pushed stays.

    Raises Unknown, Conflict (the last admin).
    """

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        rows.delete_account(t.connection, t.actor, _user(t, name), now=t.now)

    await change(services, actor, do)


async def set_password(services: Services, actor: Actor, name: str, password: str) -> None:
    """Of somebody else; their sessions and log-ins end. In person only.

    Raises Unknown, InvalidPassword, TooManyAttempts.
    """

    def allow(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        t.require_in_person()

    hashed = await _hashed(services, actor, allow, password, name)

    def do(t: Transaction) -> None:
        allow(t)
        rows.set_password_hash(t.connection, t.actor, _user(t, name), hashed, now=t.now)

    await change(services, actor, do)


async def make_setup_link(services: Services, actor: Actor, name: str) -> str:
    """The secret of a link with which they choose a password: once, within a day. In person only.

    Raises Unknown, InvalidInput (the password is kept elsewhere).
    """

    def do(t: Transaction) -> str:
        t.require(Action.MANAGE_SYSTEM)
        t.require_in_person()
        return str(setup_link(t.connection, t.actor, name, t.now))

    return await change(services, actor, do)


async def unlock_user(services: Services, actor: Actor, name: str) -> int:
    """Forget failed sign-ins of a user, and those of the addresses they came from. Raises Unknown.

    Returns how many there were.
    """

    def do(t: Transaction) -> int:
        t.require(Action.MANAGE_SYSTEM)
        return attempts.forget(t.connection, t.actor, _user(t, name).name, now=t.now)

    return await change(services, actor, do)


async def link_identity(services: Services, actor: Actor, name: str, *, source: str, subject: str) -> None:
    """Let the person that a sign-in source knows as `subject` in as this user. In person only.

    Raises Unknown, AlreadyExists (they are linked already).
    """

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        t.require_in_person()
        linking.link_identity(t.connection, t.actor, _user(t, name), source, subject, now=t.now)

    await change(services, actor, do)


def _user(t: Transaction, name: str) -> Account:
    """Raises Unknown."""
    return rows.get_account(t.connection, name, kind="user")


async def _hashed(services: Services, actor: Actor, allow: Any, password: str, name: str) -> str:
    """Asks for leave first: hashing is work, which nobody makes us do for nothing."""
    await look(services, actor, allow)
    return await hash_new_password(services, password, name)
