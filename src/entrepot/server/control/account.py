"""What somebody does to their own account: name, password, sessions; a robot its own secret.

Personal access tokens are in `tokens`, stars in `repositories`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind
from entrepot.server.access.directory import accounts as rows
from entrepot.server.access.directory.accounts import Account
from entrepot.server.access.directory.teams import Team, list_teams
from entrepot.server.access.secrets import access_tokens
from entrepot.server.access.secrets.access_tokens import AccessToken
from entrepot.server.access.secrets.passwords import MIN_PASSWORD_LENGTH, check_new_password
from entrepot.server.control.passwords import hash_new_password
from entrepot.server.control.robots import RobotSecret
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "MIN_PASSWORD_LENGTH",
    "Account",
    "AccountDetails",
    "RobotSecret",
    "change_password",
    "change_self",
    "end_other_sessions",
    "end_session",
    "list_sessions",
    "own_account",
    "rotate_own_secret",
    "show_self",
    "show_self_with_teams",
]

_MOST_SESSIONS = 1000


@dataclass(frozen=True, slots=True)
class AccountDetails:
    account: Account
    teams: list[Team]


def own_account(t: Transaction) -> Account:
    """The actor's, who has to be a user or robot. Raises InvalidCredentials, AccessDenied."""
    t.require(Action.MANAGE_SELF)
    if t.actor.principal.kind not in {PrincipalKind.USER, PrincipalKind.ROBOT}:
        raise PermitRefused("this registry has no accounts")
    return rows.get_account(t.connection, t.actor.principal.name)


async def show_self(services: Services, actor: Actor) -> Account:
    return await look(services, actor, own_account)


async def show_self_with_teams(services: Services, actor: Actor) -> AccountDetails:
    def see(t: Transaction) -> AccountDetails:
        found = own_account(t)
        return AccountDetails(found, list_teams(t.connection, member_id=found.id))

    return await look(services, actor, see)


async def change_self(
    services: Services, actor: Actor, changes: Mapping[str, Any], *, expected_version: int | None = None
) -> Account:
    """`display_name` and `email`. In person only. Raises VersionMismatch."""
    if changes.keys() - {"display_name", "email"}:
        raise ValueError(f"not one's own to change: {sorted(changes)}")

    def do(t: Transaction) -> Account:
        t.require_in_person()
        return rows.change_account(
            t.connection, t.actor, own_account(t), changes, now=t.now, expected_version=expected_version
        )

    return await change(services, actor, do)


async def change_password(services: Services, actor: Actor, *, current: str, new: str) -> Principal:
    """Ends all sessions and log-ins. In person only, and whoever is there has to know the `current` one.

    Returns who they are from now on, for a new session. Raises InvalidPassword, TooManyAttempts,
    InvalidCredentials (the current one is wrong), InvalidInput (the password is kept elsewhere).
    """

    def allowed(t: Transaction) -> Account:
        t.require_in_person()
        found = own_account(t)
        if found.source != "local":
            raise InvalidInput(f"the password of {found.name} is kept at {found.source}")
        return found

    name = (await look(services, actor, allowed)).name
    check_new_password(new, name=name)
    assert services.accounts is not None  # in open mode nobody is there in person
    proven = await services.accounts.authenticator.basic(name, current, address=actor.address)
    if proven.credential != "password":
        raise InvalidCredentials("the current password is wrong")
    hashed = await hash_new_password(services, new, name)

    def do(t: Transaction) -> Principal:
        found = allowed(t)
        rows.set_password_hash(t.connection, t.actor, found, hashed, now=t.now)
        epoch = rows.get_account(t.connection, name).epoch
        return Principal(kind=PrincipalKind.USER, name=name, id=found.id, epoch=epoch, credential="password")

    return await change(services, actor, do)


async def list_sessions(services: Services, actor: Actor) -> list[AccessToken]:
    """In browsers, the newest first, without those that have expired. In person only."""

    def see(t: Transaction) -> list[AccessToken]:
        t.require_in_person()
        live = [s for s in _sessions(t) if s.expires_at is None or s.expires_at > t.now]
        return sorted(live, key=lambda session: session.created_at, reverse=True)

    return await look(services, actor, see)


async def end_session(services: Services, actor: Actor, session: str) -> None:
    """In person only. Raises Unknown, also for somebody else's, InvalidInput (it is no session)."""

    def do(t: Transaction) -> None:
        t.require_in_person()
        found = access_tokens.get_token(t.connection, session, owner_id=own_account(t).id)
        if found.kind != "ses":
            raise InvalidInput("that is another kind of credential")
        access_tokens.revoke(t.connection, t.actor, found, now=t.now)

    await change(services, actor, do)


async def end_other_sessions(services: Services, actor: Actor) -> None:
    """All but the one the actor comes with. In person only."""

    def do(t: Transaction) -> None:
        t.require_in_person()
        for session in _sessions(t):
            if session.id != t.actor.token_id:
                access_tokens.revoke(t.connection, t.actor, session, now=t.now)

    await change(services, actor, do)


async def rotate_own_secret(services: Services, actor: Actor, *, overlap: int = 0) -> RobotSecret:
    """A robot's, with its secret and nobody else's credentials.

    The old one works on for `overlap` microseconds. Raises AccessDenied.
    """

    def do(t: Transaction) -> RobotSecret:
        who = t.actor.principal
        if who.kind is not PrincipalKind.ROBOT or who.credential != "robot":
            raise PermitRefused("only a robot with its secret may do this", rule="robot-secret")
        found = own_account(t)
        made = access_tokens.rotate_robot_secret(
            t.connection, t.actor, now=t.now, robot_id=found.id, robot=found.name, overlap=overlap
        )
        return RobotSecret(found, str(made.text))

    return await change(services, actor, do)


def _sessions(t: Transaction) -> list[AccessToken]:
    owner = own_account(t)
    return access_tokens.list_tokens(t.connection, owner_id=owner.id, kinds=("ses",), n=_MOST_SESSIONS)
