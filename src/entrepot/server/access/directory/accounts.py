"""Users and robots: rows of `principal`. Functions over a connection, each a part of one transaction.

A change that must end running sessions and tokens raises the principal's epoch; everything minted before is
refused from then on. The last enabled admin can't be removed, disabled or demoted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from entrepot.errors import Conflict
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, Unknown, VersionMismatch
from entrepot.server.access.decision.model import SystemRole
from entrepot.server.access.directory.names import parse_robot_name, parse_user_name
from entrepot.server.db.tables.access import access_token, principal
from entrepot.server.db.tables.projects import project

__all__ = [
    "Account",
    "change_account",
    "count_admins",
    "create_robot",
    "create_user",
    "delete_account",
    "end_log_ins_from",
    "find_account",
    "get_account",
    "list_accounts",
    "set_password_hash",
    "touch_epoch",
]


@dataclass(frozen=True, slots=True)
class Account:
    """A user or a robot. Times in microseconds since 1970."""

    id: int
    kind: str
    name: str
    display_name: str
    email: str
    description: str
    source: str
    enabled: bool
    system_role: str | None
    may_create_projects: bool
    epoch: int
    version: int
    project_id: int | None
    expires_at: int | None
    created_at: int
    created_by: str | None
    last_used_at: int | None
    has_password: bool


_COLUMNS: Final = (
    principal.c.id,
    principal.c.kind,
    principal.c.name,
    principal.c.display_name,
    principal.c.email,
    principal.c.description,
    principal.c.source,
    principal.c.enabled,
    principal.c.system_role,
    principal.c.may_create_projects,
    principal.c.epoch,
    principal.c.version,
    principal.c.project_id,
    principal.c.expires_at,
    principal.c.created_at,
    principal.c.created_by,
    principal.c.last_used_at,
    principal.c.password_hash.is_not(None),
)
_SELECT: Final = select(*_COLUMNS)
_CHANGEABLE: Final = frozenset(
    {"display_name", "email", "description", "enabled", "system_role", "may_create_projects", "expires_at"}
)
_MADE_BY_SIGNING_IN: Final = ("ses", "ref", "set")
_ENDS_CREDENTIALS: Final = frozenset({"enabled"})


def find_account(connection: Connection, name: str, *, kind: str | None = None) -> Account | None:
    row = connection.execute(_SELECT.where(principal.c.name == name)).one_or_none()
    account = _account(row) if row is not None else None
    return account if account is None or kind in {None, account.kind} else None


def get_account(connection: Connection, name: str, *, kind: str | None = None) -> Account:
    """Raises Unknown."""
    account = find_account(connection, name, kind=kind)
    if account is None:
        raise Unknown(f"no {kind or 'user or robot'} is called {name}")
    return account


def list_accounts(
    connection: Connection,
    *,
    kind: str,
    last: str = "",
    n: int = 100,
    project_id: int | None = None,
    contains: str = "",
) -> list[Account]:
    """By name, after `last`. `contains` is part of the name, display name or e-mail address."""
    query = _SELECT.where(principal.c.kind == kind, principal.c.name > last)
    if contains:
        told = (principal.c.name, principal.c.display_name, principal.c.email)
        fits = (func.lower(column).contains(contains.lower(), autoescape=True) for column in told)
        query = query.where(or_(*fits))
    if project_id is not None:
        query = query.where(principal.c.project_id == project_id)
    return [_account(row) for row in connection.execute(query.order_by(principal.c.name).limit(n))]


def create_user(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    name: str,
    password_hash: str | None = None,
    display_name: str = "",
    email: str = "",
    source: str = "local",
    system_role: SystemRole | None = None,
    may_create_projects: bool = False,
) -> Account:
    """Raises InvalidName and AlreadyExists."""
    values = {
        "kind": "user",
        "name": parse_user_name(name),
        "display_name": display_name,
        "email": email,
        "source": source,
        "system_role": system_role.value if system_role else None,
        "may_create_projects": may_create_projects,
        "password_hash": password_hash,
    }
    return _create(connection, by, now, values)


def create_robot(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    name: str,
    description: str = "",
    expires_at: int | None = None,
) -> Account:
    """`acme+ci` belongs to project acme and goes with it. Raises InvalidName, Unknown, AlreadyExists."""
    project_name, short = parse_robot_name(name)
    project_id = None
    if project_name is not None:
        project_id = connection.execute(
            select(project.c.id).where(project.c.name == project_name, project.c.deleted_at.is_(None))
        ).scalar()
        if project_id is None:
            raise Unknown(f"no project is called {project_name}")
        earlier = find_account(connection, f"{project_name}+{short}", kind="robot")
        if earlier is not None and earlier.project_id != project_id:
            # Of a deleted project of that name, which this one has taken: it can't come back any more.
            delete_account(connection, by, earlier, now=now)
    values = {
        "kind": "robot",
        "name": f"{project_name or ''}+{short}",
        "description": description,
        "project_id": project_id,
        "expires_at": expires_at,
    }
    return _create(connection, by, now, values)


def change_account(
    connection: Connection,
    by: Actor,
    account: Account,
    changes: Mapping[str, Any],
    *,
    now: int,
    expected_version: int | None = None,
) -> Account:
    """Raises VersionMismatch when somebody was quicker, Conflict for the last admin."""
    unknown = changes.keys() - _CHANGEABLE
    if unknown:
        raise ValueError(f"not changeable: {sorted(unknown)}")
    if expected_version is not None and expected_version != account.version:
        raise VersionMismatch(f"{account.name} was changed meanwhile; read it again")
    before = asdict(account)
    changed = {key: value for key, value in changes.items() if before[key] != value}
    if not changed:
        return account
    if changed.get("enabled") is False or ("system_role" in changed and account.system_role == "admin"):
        _keep_an_admin(connection, account)
    values: dict[str, Any] = {**changed, "version": principal.c.version + 1}
    if changed.keys() & _ENDS_CREDENTIALS:
        values["epoch"] = principal.c.epoch + 1
    connection.execute(update(principal).where(principal.c.id == account.id).values(values))
    if changed.get("enabled") is False:
        _end_log_ins(connection, account.id)
    record(
        connection,
        by,
        f"change-{account.kind}",
        now=now,
        old=_words({key: before[key] for key in changed}),
        new=_words(changed),
        detail={"name": account.name},
    )
    return get_account(connection, account.name)


def set_password_hash(
    connection: Connection, by: Actor, account: Account, password_hash: str | None, *, now: int
) -> None:
    """Ends the user's sessions and minted tokens; personal access tokens stay."""
    connection.execute(
        update(principal)
        .where(principal.c.id == account.id)
        .values(password_hash=password_hash, epoch=principal.c.epoch + 1, version=principal.c.version + 1)
    )
    _end_log_ins(connection, account.id)
    record(connection, by, "set-password", now=now, detail={"name": account.name})


def _end_log_ins(connection: Connection, account_id: int) -> None:
    """Sessions, what `docker login` keeps, set-up links: what was made by signing in."""
    connection.execute(
        delete(access_token).where(
            access_token.c.principal_id == account_id, access_token.c.kind.in_(_MADE_BY_SIGNING_IN)
        )
    )


def end_log_ins_from(connection: Connection, source: str) -> None:
    """Of every user of a sign-in source; their personal access tokens stay."""
    theirs = select(principal.c.id).where(principal.c.source == source)
    connection.execute(
        delete(access_token).where(
            access_token.c.principal_id.in_(theirs), access_token.c.kind.in_(_MADE_BY_SIGNING_IN)
        )
    )
    connection.execute(
        update(principal).where(principal.c.source == source).values(epoch=principal.c.epoch + 1)
    )


def touch_epoch(connection: Connection, account_id: int) -> None:
    """Everything minted for this principal so far stops working."""
    connection.execute(
        update(principal).where(principal.c.id == account_id).values(epoch=principal.c.epoch + 1)
    )


def delete_account(connection: Connection, by: Actor, account: Account, *, now: int) -> None:
    """With its tokens, memberships and grants. What it pushed stays, under its name."""
    _keep_an_admin(connection, account)
    connection.execute(delete(principal).where(principal.c.id == account.id))
    record(connection, by, f"delete-{account.kind}", now=now, old=account.name, detail={"name": account.name})


def count_admins(connection: Connection) -> int:
    """Enabled ones."""
    query = select(func.count()).where(principal.c.system_role == "admin", principal.c.enabled)
    return int(connection.execute(query).scalar_one())


def _keep_an_admin(connection: Connection, account: Account) -> None:
    if account.system_role == "admin" and account.enabled and count_admins(connection) <= 1:
        raise Conflict(f"user {account.name} is the last admin", hint="make another user an admin first")


def _create(connection: Connection, by: Actor, now: int, values: dict[str, Any]) -> Account:
    name = values["name"]
    there = find_account(connection, name)
    if there is not None:
        raise AlreadyExists(f"{there.kind} {name} exists already")
    connection.execute(insert(principal).values(**values, created_at=now, created_by=by.name))
    detail = {key: value for key, value in values.items() if value and key != "password_hash"}
    record(connection, by, f"create-{values['kind']}", now=now, new=name, detail=detail)
    return get_account(connection, name)


def _account(row: Any) -> Account:
    return Account(*row)


def _words(values: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={_word(key, value)}" for key, value in sorted(values.items()))


def _word(key: str, value: Any) -> str:
    if key.endswith("_at") and value is not None:
        return f"{datetime.fromtimestamp(value // 1_000_000, UTC):%Y-%m-%dT%H:%MZ}"
    return str(value)
