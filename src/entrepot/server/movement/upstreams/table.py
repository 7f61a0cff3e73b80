"""Rows of upstreams: made with their proxy project, listed, changed, removed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, insert, select, update

from entrepot.errors import InvalidInput
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, Unknown
from entrepot.server.access.decision.patterns import RepositoryPattern, parse_repository_pattern
from entrepot.server.access.directory.projects import create_project
from entrepot.server.access.secrets.sealing import SealBroken, SealKey
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import project, repo, upstream, upstream_answer, upstream_fetch
from entrepot.server.movement.upstreams.errors import UpstreamRefused
from entrepot.server.movement.upstreams.model import Upstream, parse_address

__all__ = [
    "ALL",
    "ListedUpstream",
    "UpstreamState",
    "add_upstream",
    "change_upstream",
    "get_upstream",
    "list_upstreams",
    "note_state",
    "open_password",
    "remove_upstream",
    "upstream_of",
]

_COLUMNS: Final = (
    project.c.id,
    project.c.name,
    upstream.c.url,
    upstream.c.username,
    upstream.c.sealed,
    upstream.c.inside,
    upstream.c.whole,
    upstream.c.allow,
    upstream.c.deny,
)
_SELECT: Final = (
    select(*_COLUMNS)
    .join(project, project.c.id == upstream.c.project_id)
    .where(project.c.deleted_at.is_(None))
    .order_by(project.c.name)
)
ALL: Final = HotQuery(_SELECT)
"""A row is what `upstream_of` takes."""


@dataclass(frozen=True, slots=True)
class UpstreamState:
    """What it last answered. Times in seconds since 1970; None: not known."""

    asked_at: float | None = None
    failed_at: float | None = None
    failure: str | None = None
    """Why it could not be used, when that was the last it said."""
    limit: int | None = None
    """Pulls it allows in `window_s` seconds, and how many are left, where it tells."""
    remaining: int | None = None
    window_s: int | None = None


@dataclass(frozen=True, slots=True)
class ListedUpstream:
    """An upstream as lists show it. Times in microseconds since 1970."""

    upstream: Upstream
    visibility: str
    usage_bytes: int
    created_at: int
    state: UpstreamState


def upstream_of(row: Sequence[Any]) -> Upstream:
    project_id, name, url, username, sealed, inside, whole, allow, deny = row
    return Upstream(
        project_id=project_id,
        project=name,
        address=parse_address(url),
        username=username,
        sealed=None if sealed is None else bytes(sealed),
        inside=bool(inside),
        whole=bool(whole),
        allow=_patterns(allow),
        deny=_patterns(deny),
    )


def list_upstreams(connection: Connection) -> list[ListedUpstream]:
    """By name."""
    query = (
        select(
            *_COLUMNS, project.c.visibility, project.c.usage_bytes, upstream.c.created_at, upstream.c.state
        )
        .join(project, project.c.id == upstream.c.project_id)
        .where(project.c.deleted_at.is_(None))
        .order_by(project.c.name)
    )
    return [
        ListedUpstream(upstream_of(row[:9]), row[9], row[10], row[11], UpstreamState(**json.loads(row[12])))
        for row in connection.execute(query)
    ]


def get_upstream(connection: Connection, name: str) -> ListedUpstream:
    """Raises Unknown."""
    for found in list_upstreams(connection):
        if found.upstream.project == name:
            return found
    raise Unknown(f"no proxy project is called {name}")


def add_upstream(
    connection: Connection,
    by: Actor,
    seal: SealKey | None,
    *,
    now: int,
    name: str,
    url: str,
    visibility: str | None = None,
    username: str | None = None,
    password: str | None = None,
    inside: bool = False,
    whole: bool = False,
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
    owner_id: int | None = None,
) -> ListedUpstream:
    """With its proxy project: private when it has an account there, else public, if nothing is said.

    `seal` is needed with a password. Raises InvalidName, InvalidInput, AlreadyExists.
    """
    address = parse_address(url)
    _require_account(username, password)
    made = create_project(
        connection,
        by,
        now=now,
        name=name,
        visibility=visibility or ("private" if username else "public"),
        owner_id=owner_id,
    )
    if whole:
        _require_only_whole(connection)
    connection.execute(update(project).where(project.c.id == made.id).values(kind="proxy"))
    connection.execute(
        insert(upstream).values(
            project_id=made.id,
            url=address.url,
            registry=address.registry,
            username=username,
            sealed=_sealed(seal, made.name, password),
            inside=inside,
            whole=whole,
            allow=_checked(allow),
            deny=_checked(deny),
            created_at=now,
        )
    )
    record(connection, by, "add-upstream", now=now, repository=made.name, new=address.url)
    return get_upstream(connection, made.name)


def change_upstream(
    connection: Connection,
    by: Actor,
    seal: SealKey | None,
    *,
    now: int,
    name: str,
    changes: Mapping[str, Any],
) -> ListedUpstream:
    """`username` with `password` (both None: no account), `allow`, `deny`, `whole`, `inside`.

    Raises Unknown, InvalidInput.
    """
    found = get_upstream(connection, name).upstream
    values: dict[str, Any] = {}
    if "username" in changes:
        _require_account(changes["username"], changes.get("password"))
        values["username"] = changes["username"]
        values["sealed"] = _sealed(seal, found.project, changes.get("password"))
    for column in ("allow", "deny"):
        if column in changes:
            values[column] = _checked(changes[column])
    for column in ("whole", "inside"):
        if column in changes:
            values[column] = bool(changes[column])
    if values.get("whole") and not found.whole:
        _require_only_whole(connection)
    if values:
        row = upstream.c.project_id == found.project_id
        connection.execute(update(upstream).where(row).values(values))
        told = " ".join(sorted(set(values) - {"sealed"}))
        record(connection, by, "change-upstream", now=now, repository=found.project, new=told)
    return get_upstream(connection, name)


def remove_upstream(connection: Connection, by: Actor, name: str, *, now: int) -> None:
    """What has been fetched stays, in what is a project like any other from now on. Raises Unknown."""
    found = get_upstream(connection, name).upstream
    of_project = found.project_id
    for table in (upstream_answer, upstream_fetch, upstream):
        connection.execute(delete(table).where(table.c.project_id == of_project))
    connection.execute(update(project).where(project.c.id == of_project).values(kind="local"))
    connection.execute(update(repo).where(repo.c.project_id == of_project).values(proxied=False))
    record(connection, by, "remove-upstream", now=now, repository=found.project, old=found.address.url)


def note_state(connection: Connection, project_id: int, state: UpstreamState) -> None:
    """Remember what it last answered, for who looks."""
    row = upstream.c.project_id == project_id
    connection.execute(update(upstream).where(row).values(state=json.dumps(asdict(state))))


def open_password(found: Upstream, seal: SealKey) -> str:
    """Raises UpstreamRefused when the key file is another one than it was sealed with."""
    if found.sealed is None:
        return ""
    try:
        return seal.open(found.sealed, context=_context(found.project)).decode()
    except SealBroken as error:
        raise UpstreamRefused(
            f"the account of {found.project} at {found.registry} can't be used: {error.message}",
            hint=f"give it again: entrepot admin upstream set {found.project} --username",
        ) from error


def _require_account(username: str | None, password: str | None) -> None:
    if (username is None) != (password is None):
        raise InvalidInput("an account at an upstream is a user name and a password; give both or neither")


def _require_only_whole(connection: Connection) -> None:
    there = [found.upstream.project for found in list_upstreams(connection) if found.upstream.whole]
    if there:
        raise AlreadyExists(
            f"{there[0]} is asked already for names of no project here; there can be one such upstream",
            hint=f"end that first: entrepot admin upstream set {there[0]} --no-whole",
        )


def _sealed(seal: SealKey | None, name: str, password: str | None) -> bytes | None:
    if password is None:
        return None
    assert seal is not None
    return seal.seal(password.encode(), context=_context(name))


def _context(name: str) -> str:
    return f"password of upstream {name}"


def _checked(patterns: Sequence[str]) -> str:
    return "\n".join(parse_repository_pattern(text).text for text in patterns)


def _patterns(text: str) -> tuple[RepositoryPattern, ...]:
    return tuple(RepositoryPattern(line) for line in text.splitlines() if line)
