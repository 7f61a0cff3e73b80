"""Projects as people manage them: made on purpose (or by pushing), their visibility and quota."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from entrepot.errors import InvalidInput
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, Unknown, VersionMismatch
from entrepot.server.access.decision.model import Visibility
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.access.directory.grants import add_grant
from entrepot.server.access.directory.names import parse_project_name
from entrepot.server.db.tables.projects import project, repo

__all__ = [
    "Project",
    "as_seen",
    "change_project",
    "create_project",
    "find_project",
    "get_project",
    "list_projects",
]


@dataclass(frozen=True, slots=True)
class Project:
    """A live project. Times in microseconds since 1970."""

    id: int
    name: str
    kind: str
    visibility: str
    usage_bytes: int | None
    """None to those who may see only a part of it."""
    quota_bytes: int | None
    created_at: int
    created_by: str | None
    repositories: int | None
    """As `usage_bytes`."""

    @property
    def version(self) -> str:
        """Changes with what can be changed; for If-Match."""
        return f"{self.id}-{self.visibility}-{self.quota_bytes}"


_REPOSITORIES: Final = (
    select(func.count())
    .where(repo.c.project_id == project.c.id, repo.c.deleted_at.is_(None))
    .correlate(project)
    .scalar_subquery()
)
_SELECT: Final = select(
    project.c.id,
    project.c.name,
    project.c.kind,
    project.c.visibility,
    project.c.usage_bytes,
    project.c.quota_bytes,
    project.c.created_at,
    project.c.created_by,
    _REPOSITORIES,
).where(project.c.deleted_at.is_(None))


def find_project(connection: Connection, name: str) -> Project | None:
    row: Any = connection.execute(_SELECT.where(project.c.name == name)).one_or_none()
    return None if row is None else Project(*row)


def get_project(connection: Connection, name: str) -> Project:
    """Raises Unknown."""
    found = find_project(connection, name)
    if found is None:
        raise Unknown(f"no project is called {name}")
    return found


def list_projects(connection: Connection, visible: Visible, *, last: str = "", n: int = 100) -> list[Project]:
    """By name, after `last`; those the caller may see something of."""
    query = _SELECT.where(project.c.name > last).order_by(project.c.name).limit(n)
    if not visible.everything:
        ids = {*visible.project_ids, *(pid for pid, _pattern in visible.patterns)}
        query = query.where(project.c.visibility.in_(visible.visibilities) | project.c.id.in_(ids))
    if visible.only is not None:
        names = {pattern.text.partition("/")[0] for pattern in visible.only}
        if not names & {"*", "**"}:
            query = query.where(project.c.name.in_(names))
    rows: Any = connection.execute(query)
    return [as_seen(Project(*row), visible) for row in rows]


def as_seen(found: Project, visible: Visible) -> Project:
    """Without what would tell how much the caller may not see."""
    if visible.sees_all_of(found.id, found.visibility, found.name):
        return found
    return replace(found, usage_bytes=None, quota_bytes=None, repositories=None)


def create_project(
    connection: Connection,
    by: Actor,
    *,
    now: int,
    name: str,
    visibility: str = "private",
    quota_bytes: int | None = None,
    owner_id: int | None = None,
) -> Project:
    """With `owner_id` as its owner. Raises InvalidName, InvalidInput, AlreadyExists."""
    name = parse_project_name(name)
    values = {"visibility": _visibility(visibility), "quota_bytes": _quota(quota_bytes)}
    if find_project(connection, name) is not None:
        raise AlreadyExists(f"project {name} exists already")
    made = connection.execute(
        insert(project)
        .values(name=name, created_at=now, created_by=by.name, **values)
        .returning(project.c.id)
    )
    project_id = made.scalar_one()
    record(connection, by, "create-project", now=now, repository=name, new=visibility)
    if owner_id is not None:
        add_grant(connection, by, now=now, project_id=project_id, role_name="owner", principal_id=owner_id)
    return get_project(connection, name)


def change_project(
    connection: Connection,
    by: Actor,
    changed: Project,
    changes: Mapping[str, Any],
    *,
    now: int,
    expected_version: str | None = None,
) -> Project:
    """`visibility` and `quota_bytes`. Raises VersionMismatch, InvalidInput."""
    if expected_version is not None and expected_version != changed.version:
        raise VersionMismatch(f"project {changed.name} was changed meanwhile; read it again")
    values: dict[str, Any] = {}
    if "visibility" in changes:
        values["visibility"] = _visibility(changes["visibility"])
    if "quota_bytes" in changes:
        values["quota_bytes"] = _quota(changes["quota_bytes"])
    values = {key: value for key, value in values.items() if getattr(changed, key) != value}
    if not values:
        return changed
    connection.execute(update(project).where(project.c.id == changed.id).values(values))
    old = " ".join(f"{key}={getattr(changed, key)}" for key in sorted(values))
    new = " ".join(f"{key}={value}" for key, value in sorted(values.items()))
    record(connection, by, "change-project", now=now, repository=changed.name, old=old, new=new)
    return get_project(connection, changed.name)


def _visibility(text: str) -> str:
    try:
        return Visibility(text).value
    except ValueError:
        raise InvalidInput(
            f"visibility {text!r} is not known", hint="it is private, signed-in or public"
        ) from None


def _quota(value: int | None) -> int | None:
    if value is not None and value < 0:
        raise InvalidInput("a quota is a number of bytes, or nothing for no limit")
    return value
