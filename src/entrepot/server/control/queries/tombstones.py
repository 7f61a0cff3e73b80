"""Deleting repositories and projects, and taking back what was deleted or overwritten.

Nothing goes at once: a row gets `deleted_at`, and collection leaves it alone until the undo window ends. The
time is the steady one, as collection measures it. A project and the repositories that went with it carry
the same time, so that they come back together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, delete, exists, func, insert, select, update

from entrepot.errors import Conflict, NotFound
from entrepot.server.access.audit import record_change
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, Permit, allow_all
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.db.tables import (
    blob,
    manifest,
    policy,
    policy_version,
    project,
    repo,
    repo_blob,
    tag,
    tag_event,
)
from entrepot.server.repos.immutable import require_all_mutable
from entrepot.server.repos.records import add_usage, write_event
from entrepot.server.repos.visibility import is_visible

__all__ = [
    "Undoable",
    "delete_project",
    "delete_repository",
    "list_undoable",
    "restore_project",
    "restore_repository",
]


TAGS_AN_EVENT: Final = 500


@dataclass(frozen=True, slots=True)
class Undoable:
    """Something that can be brought back. Times in microseconds since 1970."""

    kind: str
    """project, repository, tag-deleted, tag-overwritten."""
    name: str
    """A project's, a repository's, or `repository:tag`."""
    digest: str | None
    """What the tag pointed to."""
    at: int
    by: str | None


def delete_repository(
    connection: Connection,
    name: str,
    actor: Actor,
    permit: Permit,
    now: int,
    steady: int,
) -> None:
    """With its tags and manifests. Raises NotFound, Denied."""
    found = connection.execute(
        select(repo.c.id, repo.c.project_id).where(repo.c.name == name, repo.c.deleted_at.is_(None))
    ).one_or_none()
    change = Change("delete-repository", name)
    permit(connection, change)
    if found is None:
        raise NotFound(f"no repository is called {name}")
    require_all_mutable(connection, name)
    connection.execute(update(repo).where(repo.c.id == found.id).values(deleted_at=steady))
    record_change(connection, change, actor, now)
    write_event(connection, "delete-repository", name, actor, now, repository_id=found.id)
    add_usage(connection, found.project_id, -_used(connection, found.id))


def restore_repository(
    connection: Connection, name: str, actor: Actor, permit: Permit, now: int, kept_since: int
) -> None:
    """The one of that name deleted last, unless that was before `kept_since`: collection may have begun with
    it. Raises NotFound, Conflict (the name is in use again, or it is too late), Denied.
    """
    permit(connection, Change("restore", name))
    live = select(project.c.id).where(
        project.c.name == name.partition("/")[0], project.c.deleted_at.is_(None)
    )
    project_id = connection.execute(live).scalar_one_or_none()
    query = (
        select(
            repo.c.id,
            repo.c.project_id,
            repo.c.deleted_at,
            project.c.deleted_at.label("project_deleted_at"),
        )
        .join(project, project.c.id == repo.c.project_id)
        .where(repo.c.name == name, repo.c.deleted_at.is_not(None))
        .order_by(repo.c.deleted_at.desc(), repo.c.id.desc())
        .limit(1)
    )
    if project_id is not None:  # an earlier project of that name is nobody's business in this one
        query = query.where(repo.c.project_id == project_id)
    gone = connection.execute(query).one_or_none()
    if gone is None:
        raise NotFound(
            f"no deleted repository is called {name}",
            hint="its undo window has ended, or it was never there; see: entrepot admin undo",
        )
    if gone.project_deleted_at is not None:
        raise Conflict(
            f"the project of {name} was deleted",
            hint=f"bring it back: entrepot admin undo --project {name.partition('/')[0]}",
        )
    _check_kept(f"repository {name}", gone.deleted_at, kept_since)
    _check_free(connection, name)
    connection.execute(update(repo).where(repo.c.id == gone.id).values(deleted_at=None))
    record_change(connection, Change("restore", name), actor, now, {"what": "repository"})
    _tell_restored(connection, gone.id, name, actor, now)
    add_usage(connection, gone.project_id, _used(connection, gone.id))


def delete_project(
    connection: Connection, name: str, actor: Actor, permit: Permit, now: int, steady: int
) -> None:
    """With all its repositories. Raises NotFound, Denied."""
    change = Change("delete-project", name)
    permit(connection, change)
    project_id = connection.execute(
        select(project.c.id).where(project.c.name == name, project.c.deleted_at.is_(None))
    ).scalar_one_or_none()
    if project_id is None:
        raise NotFound(f"no project is called {name}")
    names = select(repo.c.name).where(repo.c.project_id == project_id, repo.c.deleted_at.is_(None))
    for repository in connection.execute(names).scalars().all():
        require_all_mutable(connection, repository)
    # Who makes a project of that name anew does not get rules they never saw.
    connection.execute(delete(policy).where(policy.c.scope == name))
    gone = connection.execute(
        update(repo)
        .where(repo.c.project_id == project_id, repo.c.deleted_at.is_(None))
        .values(deleted_at=steady)
        .returning(repo.c.id, repo.c.name)
    ).all()
    record_change(connection, change, actor, now)
    for found in sorted(gone):
        write_event(connection, "delete-repository", found.name, actor, now, repository_id=found.id)
    write_event(connection, "delete-project", name, actor, now)
    connection.execute(update(project).where(project.c.id == project_id).values(deleted_at=steady))


def restore_project(
    connection: Connection, name: str, actor: Actor, now: int, kept_since: int, permit: Permit = allow_all
) -> None:
    """With the repositories that went with it, members and grants, unless it was deleted before `kept_since`.
    Raises NotFound, Conflict.
    """
    permit(connection, Change("restore", name))
    gone = connection.execute(
        select(project.c.id, project.c.deleted_at)
        .where(project.c.name == name, project.c.deleted_at.is_not(None))
        .order_by(project.c.deleted_at.desc(), project.c.id.desc())
        .limit(1)
    ).one_or_none()
    if gone is None:
        raise NotFound(f"no deleted project is called {name}", hint="see: entrepot admin undo")
    _check_kept(f"project {name}", gone.deleted_at, kept_since)
    live = select(exists().where(project.c.name == name, project.c.deleted_at.is_(None)))
    if connection.execute(live).scalar_one():
        raise Conflict(f"a new project is called {name} by now", hint="rename or delete that one first")
    connection.execute(update(project).where(project.c.id == gone.id).values(deleted_at=None))
    last = (
        select(policy_version.c.scope, policy_version.c.version, policy_version.c.text)
        .where(policy_version.c.scope == name)
        .order_by(policy_version.c.version.desc())
        .limit(1)
    )
    connection.execute(insert(policy).from_select(["scope", "version", "text"], last))
    back = connection.execute(
        update(repo)
        .where(repo.c.project_id == gone.id, repo.c.deleted_at == gone.deleted_at)
        .values(deleted_at=None)
        .returning(repo.c.id, repo.c.name)
    ).all()
    record_change(connection, Change("restore", name), actor, now, {"what": "project"})
    write_event(connection, "restore-project", name, actor, now)
    for found in sorted(back):
        _tell_restored(connection, found.id, found.name, actor, now)


def _tell_restored(connection: Connection, repo_id: int, name: str, actor: Actor, now: int) -> None:
    """With the tags that are there again, so many an event that none becomes large."""
    tags = [
        (row.name, row.digest)
        for row in connection.execute(
            select(tag.c.name, tag.c.digest).where(tag.c.repo_id == repo_id).order_by(tag.c.name)
        )
    ]
    for first in range(0, max(1, len(tags)), TAGS_AN_EVENT):
        write_event(
            connection,
            "restore-repository",
            name,
            actor,
            now,
            repository_id=repo_id,
            restored=dict(tags[first : first + TAGS_AN_EVENT]),
        )


def list_undoable(
    connection: Connection,
    *,
    visible: Visible | None = None,
    repository: str | None = None,
    n: int = 100,
    kept_since: int = 0,
) -> list[Undoable]:
    """Newest first, without projects and repositories deleted before `kept_since`."""
    visible = visible or Visible(everything=True)
    found = [*_deleted_tags(connection, visible, repository, n)]
    if repository is None:
        found += _deleted_repositories(connection, visible, n, kept_since)
        if visible.everything and visible.only is None:
            found += _deleted_projects(connection, n, kept_since)
    return sorted(found, key=lambda item: item.at, reverse=True)[:n]


def _deleted_projects(connection: Connection, n: int, kept_since: int) -> list[Undoable]:
    query = (
        select(project.c.name, project.c.deleted_at)
        .where(project.c.deleted_at >= kept_since)
        .order_by(project.c.deleted_at.desc())
        .limit(n)
    )
    return [Undoable("project", row.name, None, row.deleted_at, None) for row in connection.execute(query)]


def _deleted_repositories(
    connection: Connection, visible: Visible, n: int, kept_since: int
) -> list[Undoable]:
    query = (
        select(repo.c.name, repo.c.deleted_at)
        .join(project, project.c.id == repo.c.project_id)
        .where(
            repo.c.deleted_at >= kept_since,
            project.c.deleted_at.is_(None),
            is_visible(visible),
        )
        .order_by(repo.c.deleted_at.desc())
        .limit(n)
    )
    return [Undoable("repository", row.name, None, row.deleted_at, None) for row in connection.execute(query)]


_LATER: Final = tag_event.alias("later")


def _deleted_tags(connection: Connection, visible: Visible, repository: str | None, n: int) -> list[Undoable]:
    """The last move of each tag, when it lost something that is still kept."""
    later = exists().where(
        _LATER.c.repo_id == tag_event.c.repo_id,
        _LATER.c.name == tag_event.c.name,
        _LATER.c.seq > tag_event.c.seq,
    )
    kept = exists().where(manifest.c.repo_id == tag_event.c.repo_id, manifest.c.digest == tag_event.c.old)
    query: Any = (
        select(repo.c.name.label("repository"), tag_event)
        .join(repo, repo.c.id == tag_event.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .where(
            tag_event.c.old.is_not(None),
            repo.c.deleted_at.is_(None),
            ~later,
            kept,
            is_visible(visible),
        )
        .order_by(tag_event.c.seq.desc())
        .limit(n)
    )
    if repository is not None:
        query = query.where(repo.c.name == repository)
    return [
        Undoable(
            "tag-deleted" if row.new is None else "tag-overwritten",
            f"{row.repository}:{row.name}",
            row.old,
            row.at,
            row.by,
        )
        for row in connection.execute(query)
    ]


def _check_kept(what: str, deleted_at: int, kept_since: int) -> None:
    if deleted_at < kept_since:
        raise Conflict(
            f"{what} can't be brought back: its undo window is over, and its images are being removed",
            hint="push them again, or take them from a backup",
        )


def _check_free(connection: Connection, name: str) -> None:
    if connection.execute(
        select(exists().where(repo.c.name == name, repo.c.deleted_at.is_(None)))
    ).scalar_one():
        raise Conflict(f"a new repository is called {name} by now", hint="delete that one first")


def _used(connection: Connection, repo_id: int) -> int:
    """Bytes the repository counts for: live manifests and linked blobs."""
    manifests = connection.execute(
        select(func.coalesce(func.sum(manifest.c.size), 0)).where(
            manifest.c.repo_id == repo_id, manifest.c.deleted_at.is_(None)
        )
    ).scalar_one()
    blobs = connection.execute(
        select(func.coalesce(func.sum(blob.c.size), 0))
        .join(repo_blob, repo_blob.c.digest == blob.c.digest)
        .where(repo_blob.c.repo_id == repo_id, repo_blob.c.deleted_at.is_(None))
    ).scalar_one()
    return int(manifests) + int(blobs)
