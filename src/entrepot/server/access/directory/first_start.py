"""What a catalog needs before its accounts can be used, and the way in for the first admin.

There is no default password: while no admin can sign in, each start makes a link that works once and for a
day; whoever holds it chooses the admin's password. It replaces the link of an earlier start, but not those of
other nodes that start together with this one: each shows a link that works, and the first one used ends all.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, delete, exists, or_, select

from entrepot.errors import InvalidInput
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import SYSTEM, Actor
from entrepot.server.access.decision.errors import InvalidCredentials
from entrepot.server.access.decision.model import Principal, SystemRole
from entrepot.server.access.directory.accounts import (
    create_user,
    find_account,
    get_account,
    set_password_hash,
)
from entrepot.server.access.directory.role_table import ensure_builtin_roles
from entrepot.server.access.secrets.access_tokens import get_token, mint, revoke
from entrepot.server.access.secrets.sealing import SealKey
from entrepot.server.access.secrets.secret import SecretText
from entrepot.server.access.secrets.signing_keys import ensure_signing_key
from entrepot.server.db.clock import SECOND
from entrepot.server.db.settings import PREPARED_AT, set_setting
from entrepot.server.db.tables.access import access_token, identity, principal

__all__ = ["FIRST_ADMIN", "SETUP_LIFE_S", "finish_setup", "prepare_accounts", "prepare_tables", "setup_link"]

FIRST_ADMIN: Final = "admin"
SETUP_LIFE_S: Final = 24 * 3600
FIRST_START: Final = "first start"
"""Name of the row of a link that no admin has made; it opens nothing once an admin can sign in."""
TOGETHER_S: Final = 600
"""Starts this close to each other are those of several nodes."""

_ADMIN_CAN_SIGN_IN: Final = select(
    exists().where(
        principal.c.system_role == "admin",
        principal.c.enabled,
        or_(
            principal.c.password_hash.is_not(None),
            principal.c.id.in_(select(identity.c.principal_id)),
            principal.c.id.in_(select(access_token.c.principal_id).where(access_token.c.kind == "pat")),
        ),
    )
)


def prepare_accounts(connection: Connection, seal: SealKey, issuer: str, now: int) -> SecretText | None:
    """Roles, a signing key, and the set-up secret when no admin can sign in. Once per start."""
    prepare_tables(connection, seal, issuer, now)
    if connection.execute(_ADMIN_CAN_SIGN_IN).scalar_one():
        connection.execute(
            delete(access_token).where(access_token.c.kind == "set", access_token.c.name == FIRST_START)
        )
        return None
    account = find_account(connection, FIRST_ADMIN, kind="user")
    if account is None:
        account = create_user(connection, SYSTEM, now=now, name=FIRST_ADMIN, system_role=SystemRole.ADMIN)
    connection.execute(
        delete(access_token).where(
            access_token.c.principal_id == account.id,
            access_token.c.kind == "set",
            access_token.c.created_at < now - TOGETHER_S * SECOND,
        )
    )
    return _mint(connection, account.id, account.name, now, label=FIRST_START)


def prepare_tables(connection: Connection, seal: SealKey, issuer: str, now: int) -> None:
    """Built-in roles and a signing key. Safe to repeat.

    Processes that do this at once take turns until they commit: the row of the setting is written first.
    """
    set_setting(connection, PREPARED_AT, str(now))
    ensure_builtin_roles(connection)
    ensure_signing_key(connection, seal, issuer=issuer, now=now, rotate_old=False)


def setup_link(connection: Connection, by: Actor, name: str, now: int) -> SecretText:
    """A link for any user to choose a password with: invitations and forgotten passwords. Raises Unknown."""
    account = get_account(connection, name, kind="user")
    if account.source != "local":
        raise InvalidInput(f"the password of {name} is kept at {account.source}")
    record(connection, by, "create-setup-link", now=now, detail={"name": name})
    return _mint(connection, account.id, account.name, now)


def finish_setup(
    connection: Connection, who: Principal, password_hash: str, address: str | None, now: int
) -> None:
    """Set the password of whoever held the link, and use the link up. Raises InvalidCredentials."""
    account = get_account(connection, who.name, kind="user")
    by = Actor(who, address)
    if who.token_id is not None:
        link = get_token(connection, who.token_id, owner_id=account.id)
        if link.name == FIRST_START and connection.execute(_ADMIN_CAN_SIGN_IN).scalar_one():
            raise InvalidCredentials(
                "this link was for the first admin, and there is one by now",
                hint="an admin can make another: entrepot admin user link",
            )
        revoke(connection, by, link, now=now)
    set_password_hash(connection, by, account, password_hash, now=now)


def _mint(connection: Connection, account_id: int, name: str, now: int, *, label: str = "") -> SecretText:
    secret = mint(
        connection,
        SYSTEM,
        now=now,
        kind="set",
        owner_id=account_id,
        owner=name,
        name=label,
        expires_at=now + SETUP_LIFE_S * SECOND,
    )
    return secret.text
