"""Rows of `access_token`: personal tokens, robot secrets, sessions, refresh tokens, set-up links.

The secret itself exists once, in the answer to whoever made it; here is its SHA-256. A robot may hold two
live secrets while it changes from one to the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import InvalidName, Unknown
from entrepot.server.access.decision.model import Action, Principal
from entrepot.server.access.decision.patterns import parse_repository_pattern
from entrepot.server.access.secrets.secret import Kind, NewSecret, new_secret
from entrepot.server.db.tables.access import access_token, principal

__all__ = [
    "TOKEN_BY_ID",
    "AccessToken",
    "entry_detail",
    "entry_of",
    "get_token",
    "list_tokens",
    "mark_used",
    "mint",
    "revoke",
    "rotate_robot_secret",
    "sweep_expired",
]


@dataclass(frozen=True, slots=True)
class AccessToken:
    """Without its hash. Times in microseconds since 1970."""

    id: str
    kind: str
    name: str
    owner: str
    actions: tuple[str, ...] | None
    repositories: tuple[str, ...] | None
    created_at: int
    expires_at: int | None
    last_used_at: int | None
    last_address: str | None


TOKEN_BY_ID: Final = (
    select(
        access_token.c.hash,
        access_token.c.kind,
        access_token.c.expires_at,
        access_token.c.detail,
        principal.c.id,
        principal.c.kind,
        principal.c.name,
        principal.c.epoch,
        principal.c.enabled,
        principal.c.expires_at,
        principal.c.source,
    )
    .join(principal, principal.c.id == access_token.c.principal_id)
    .where(access_token.c.id == bindparam("token_id"))
)

_SELECT: Final = select(
    access_token.c.id,
    access_token.c.kind,
    access_token.c.name,
    principal.c.name,
    access_token.c.actions,
    access_token.c.repositories,
    access_token.c.created_at,
    access_token.c.expires_at,
    access_token.c.last_used_at,
    access_token.c.last_address,
).join(principal, principal.c.id == access_token.c.principal_id)
_TOKEN_ACTIONS: Final = frozenset(action.value for action in Action)
_VISIBLE_KINDS: Final = ("pat", "rob")


def entry_detail(who: Principal) -> dict[str, str] | None:
    """What a secret made by signing in keeps of the entry it was made with; `entry_of` reads it."""
    return {"entry": who.entry} if who.entry else None


def entry_of(detail: str | None) -> str:
    return str(json.loads(detail).get("entry", "")) if detail else ""


def mint(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    kind: Kind,
    owner_id: int,
    owner: str,
    name: str = "",
    actions: Iterable[str] | None = None,
    repositories: Iterable[str] | None = None,
    expires_at: int | None = None,
    detail: Mapping[str, Any] | None = None,
) -> NewSecret:
    """Make one; the text in the result is never to be had again. Raises InvalidName, InvalidPattern."""
    actions = None if actions is None else sorted(set(actions))
    repositories = None if repositories is None else sorted(set(repositories))
    unknown = sorted(set(actions or ()) - _TOKEN_ACTIONS)
    if unknown:
        raise InvalidName(f"no action is called {', '.join(unknown)}")
    for pattern in repositories or ():
        parse_repository_pattern(pattern)
    secret = new_secret(kind)
    connection.execute(
        insert(access_token).values(
            id=secret.public_id,
            kind=kind,
            principal_id=owner_id,
            hash=secret.hash,
            name=name,
            actions=None if actions is None else " ".join(actions),
            repositories=None if repositories is None else " ".join(repositories),
            detail=json.dumps(dict(detail)) if detail else None,
            created_at=now,
            expires_at=expires_at,
        )
    )
    if kind in _VISIBLE_KINDS:
        audited = {"owner": owner, "name": name, "actions": actions, "repositories": repositories}
        record(connection, by, "create-token", now=now, new=secret.public_id, detail=audited)
    return secret


def list_tokens(
    connection: Connection, *, owner_id: int, kinds: Iterable[str] = ("pat",), last: str = "", n: int = 100
) -> list[AccessToken]:
    query = (
        _SELECT.where(
            access_token.c.principal_id == owner_id,
            access_token.c.kind.in_(tuple(kinds)),
            access_token.c.id > last,
        )
        .order_by(access_token.c.id)
        .limit(n)
    )
    return [_token(row) for row in connection.execute(query)]


def get_token(connection: Connection, token_id: str, *, owner_id: int | None = None) -> AccessToken:
    """Found through its owner when that is given. Raises Unknown."""
    query = _SELECT.where(access_token.c.id == token_id)
    if owner_id is not None:
        query = query.where(access_token.c.principal_id == owner_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise Unknown("no such token")
    return _token(row)


def revoke(connection: Connection, by: Actor, gone: AccessToken, *, now: int) -> None:
    """At once: bearer tokens made with it are refused on their next request."""
    connection.execute(delete(access_token).where(access_token.c.id == gone.id))
    if gone.kind in _VISIBLE_KINDS:
        detail = {"owner": gone.owner, "name": gone.name}
        record(connection, by, "revoke-token", now=now, old=gone.id, detail=detail)


def rotate_robot_secret(
    connection: Connection, by: Actor, *, now: int, robot_id: int, robot: str, overlap: int
) -> NewSecret:
    """A new secret; the newest old one works on for `overlap` microseconds, others end now."""
    mine = (access_token.c.principal_id == robot_id) & (access_token.c.kind == "rob")
    newest = connection.execute(
        select(access_token.c.id).where(mine).order_by(access_token.c.created_at.desc()).limit(1)
    ).scalar_one_or_none()
    keep = newest if overlap > 0 else None
    connection.execute(delete(access_token).where(mine, access_token.c.id != (keep or "")))
    if keep is not None:
        ends = now + overlap
        connection.execute(
            update(access_token)
            .where(
                access_token.c.id == keep,
                access_token.c.expires_at.is_(None) | (access_token.c.expires_at > ends),
            )
            .values(expires_at=ends)
        )
    return mint(connection, by, now=now, kind="rob", owner_id=robot_id, owner=robot)


_USED: Final = (
    update(access_token)
    .where(access_token.c.id == bindparam("p_id"))
    .values(last_used_at=bindparam("p_at"), last_address=bindparam("p_address"))
)
_PRINCIPAL_USED: Final = (
    update(principal).where(principal.c.id == bindparam("p_id")).values(last_used_at=bindparam("p_at"))
)


def mark_used(
    connection: Connection,
    tokens: Mapping[str, tuple[int, str | None]],
    principals: Mapping[int, int],
) -> None:
    """Last-used times, many at once; losing some in a crash is fine."""
    if tokens:
        rows = [{"p_id": i, "p_at": at, "p_address": addr} for i, (at, addr) in sorted(tokens.items())]
        connection.execute(_USED, rows)
    if principals:
        connection.execute(_PRINCIPAL_USED, [{"p_id": i, "p_at": at} for i, at in sorted(principals.items())])


def sweep_expired(connection: Connection, *, now: int, keep: int) -> int:
    """Remove what expired more than `keep` microseconds ago."""
    gone = connection.execute(delete(access_token).where(access_token.c.expires_at < now - keep))
    return gone.rowcount


def _token(row: Any) -> AccessToken:
    token_id, kind, name, owner, actions, repositories, *times = row
    return AccessToken(
        token_id,
        kind,
        name,
        owner,
        None if actions is None else tuple(actions.split()),
        None if repositories is None else tuple(repositories.split()),
        *times,
    )
