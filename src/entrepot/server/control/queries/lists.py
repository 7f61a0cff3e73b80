"""What only pages ask of the catalog: lists in other orders, recent moves of tags, who shares layers.

Read-only SQL over the connection it is given. Each list first picks its rows by an index or a narrow scan and
then looks up what is shown of these alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, Connection, Select, cast, exists, func, or_, select

from entrepot.server.access.decision.patterns import Visible
from entrepot.server.control.queries.content import ListedRepository, TagRow, listed_body
from entrepot.server.db.tables import (
    blob,
    manifest,
    manifest_blob,
    manifest_child,
    project,
    repo,
    repo_blob,
    tag,
    tag_event,
    tag_pull,
)
from entrepot.server.db.tables.access import principal, repo_label, repo_profile, star
from entrepot.server.repos.visibility import only_visible

__all__ = [
    "Move",
    "RepositoryOrder",
    "Sharing",
    "TagOrder",
    "TagPage",
    "biggest_repositories",
    "bytes_of",
    "count_repositories",
    "find_labels",
    "list_deleted_repositories",
    "list_deleted_tags",
    "list_layer_sharing",
    "list_moves",
    "nobody_signed_in",
    "page_of_repositories",
    "page_of_tags",
    "stored_configs",
]

RepositoryOrder = Literal["pushed", "name"]
TagOrder = Literal["pushed", "name", "size", "pulls"]
_RECENT_MOVES: Final = 2_000
"""Moves looked at for those a caller may see."""


@dataclass(frozen=True, slots=True)
class Move:
    """Something that happened to a tag."""

    repository: str
    tag: str
    old: str | None
    new: str | None
    at: int
    by: str
    restored: bool = False
    """It was put back, not pushed."""

    @property
    def verb(self) -> str:
        if self.new is None:
            return "deleted"
        if self.restored:
            return "restored"
        return "pushed" if self.old is None else "moved"


@dataclass(frozen=True, slots=True)
class TagPage:
    """Tags of one page, and how many there are in all."""

    tags: list[TagRow]
    total: int
    """Of those that fit the filter."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Another repository with layers of this image."""

    repository: str
    layers: int
    bytes: int


def _chosen(
    visible: Visible, project_name: str | None, label: str, starred_by: int | None, contains: str = ""
) -> Select[Any]:
    query = only_visible(select(repo.c.id).join(project, project.c.id == repo.c.project_id), visible)
    if project_name is not None:
        query = query.where(project.c.name == project_name)
    if label:
        query = query.where(repo.c.id.in_(select(repo_label.c.repo_id).where(repo_label.c.label == label)))
    if starred_by is not None:
        query = query.where(repo.c.id.in_(select(star.c.repo_id).where(star.c.principal_id == starred_by)))
    if contains:
        query = query.where(repo.c.name.contains(contains.lower(), autoescape=True))
    return query


def page_of_repositories(
    connection: Connection,
    visible: Visible,
    *,
    order: RepositoryOrder = "pushed",
    offset: int = 0,
    n: int = 30,
    project_name: str | None = None,
    label: str = "",
    starred_by: int | None = None,
    contains: str = "",
) -> list[ListedRepository]:
    """In order; `pushed` is last pushed first."""
    query = _chosen(visible, project_name, label, starred_by, contains)
    if order == "pushed":
        query = query.order_by(func.coalesce(repo.c.pushed_at, repo.c.created_at).desc(), repo.c.id.desc())
    else:
        query = query.order_by(repo.c.name)
    ids = list(connection.execute(query.offset(offset).limit(n)).scalars())
    return _repository_rows(connection, ids)


def count_repositories(
    connection: Connection,
    visible: Visible,
    *,
    project_name: str | None = None,
    label: str = "",
    starred_by: int | None = None,
    contains: str = "",
) -> int:
    chosen = _chosen(visible, project_name, label, starred_by, contains).subquery()
    return int(connection.execute(select(func.count()).select_from(chosen)).scalar_one())


def find_labels(connection: Connection, visible: Visible, term: str, *, n: int = 10) -> list[tuple[str, int]]:
    """Labels that begin with a word of two letters or more, each with how many repositories carry it."""
    term = term.strip().lower()
    if len(term) < 2:
        return []
    query = (
        select(repo_label.c.label, func.count())
        .join(repo, repo.c.id == repo_label.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .where(repo_label.c.label.startswith(term, autoescape=True))
        .group_by(repo_label.c.label)
        .order_by(repo_label.c.label)
        .limit(n)
    )
    return [(label, count) for label, count in connection.execute(only_visible(query, visible))]


_COUNTS: Final[Any] = (
    select(tag.c.repo_id, func.count().label("n")).group_by(tag.c.repo_id),
    select(star.c.repo_id, func.count().label("n")).group_by(star.c.repo_id),
    select(tag_pull.c.repo_id, func.sum(tag_pull.c.count).label("n")).group_by(tag_pull.c.repo_id),
)


def _repository_rows(connection: Connection, ids: Sequence[int]) -> list[ListedRepository]:
    if not ids:
        return []
    tags, stars, pulls = (
        {
            repo_id: int(n)
            for repo_id, n in connection.execute(query.where(query.selected_columns[0].in_(ids)))
        }
        for query in _COUNTS
    )
    labels: dict[int, list[str]] = {}
    for repo_id, text in connection.execute(
        select(repo_label.c.repo_id, repo_label.c.label)
        .where(repo_label.c.repo_id.in_(ids))
        .order_by(repo_label.c.label)
    ):
        labels.setdefault(repo_id, []).append(text)
    rows = connection.execute(
        select(
            repo.c.id,
            repo.c.name,
            project.c.name.label("project"),
            func.coalesce(repo_profile.c.description, "").label("description"),
            repo.c.created_at,
            repo.c.pushed_at,
        )
        .join(project, project.c.id == repo.c.project_id)
        .outerjoin(repo_profile, repo_profile.c.repo_id == repo.c.id)
        .where(repo.c.id.in_(ids))
    )
    found = {
        row.id: ListedRepository(
            id=row.id,
            name=row.name,
            project=row.project,
            description=row.description,
            tags=tags.get(row.id, 0),
            stars=stars.get(row.id, 0),
            pulls=pulls.get(row.id, 0),
            created_at=row.created_at,
            pushed_at=row.pushed_at,
            labels=labels.get(row.id, []),
        )
        for row in rows
    }
    return [found[repo_id] for repo_id in ids if repo_id in found]


def list_moves(
    connection: Connection,
    visible: Visible,
    *,
    n: int = 12,
    project_name: str | None = None,
    repo_id: int | None = None,
    before: int = 0,
) -> list[tuple[int, Move]]:
    """What happened to tags lately, newest first, with each move's number."""
    recent = select(tag_event).order_by(tag_event.c.seq.desc())
    if repo_id is not None:
        recent = recent.where(tag_event.c.repo_id == repo_id)
    if project_name is not None:
        inside = select(repo.c.id).join(project, project.c.id == repo.c.project_id)
        recent = recent.where(tag_event.c.repo_id.in_(inside.where(project.c.name == project_name)))
    if before:
        recent = recent.where(tag_event.c.seq < before)
    events = recent.limit(n if repo_id is not None else _RECENT_MOVES).subquery()
    query = only_visible(
        select(
            events.c.seq,
            repo.c.name,
            events.c.name,
            events.c.old,
            events.c.new,
            events.c.at,
            events.c.by,
            events.c.restored,
        )
        .select_from(events)
        .join(repo, repo.c.id == events.c.repo_id)
        .join(project, project.c.id == repo.c.project_id),
        visible,
    )
    rows: Any = connection.execute(query.order_by(events.c.seq.desc()).limit(n))
    return [(seq, Move(*row)) for seq, *row in rows]


_child = manifest.alias("child")
_CHILDREN: Final[Any] = (
    select(func.sum(_child.c.total_size))
    .select_from(manifest_child)
    .join(
        _child, (_child.c.repo_id == manifest_child.c.repo_id) & (_child.c.digest == manifest_child.c.digest)
    )
    .where(manifest_child.c.manifest_id == manifest.c.id)
    .correlate(manifest)
    .scalar_subquery()
)
# A sum of integers is a decimal on PostgreSQL.
_TOTAL: Final[Any] = manifest.c.total_size + cast(func.coalesce(_CHILDREN, 0), BigInteger)
"""Bytes of an image; of an index, those of all its platforms."""


def page_of_tags(
    connection: Connection,
    repo_id: int,
    *,
    order: TagOrder = "pushed",
    descending: bool = True,
    contains: str = "",
    offset: int = 0,
    n: int = 50,
) -> TagPage:
    """In order; equal ones by name."""
    chosen = select(tag.c.name).where(tag.c.repo_id == repo_id)
    if contains:
        chosen = chosen.where(func.lower(tag.c.name).contains(contains.lower(), autoescape=True))
    total = connection.execute(select(func.count()).select_from(chosen.subquery())).scalar_one()
    column: Any = tag.c.name
    if order == "pushed":
        column = tag.c.updated_at
    elif order == "size":
        chosen = chosen.join(
            manifest, (manifest.c.repo_id == tag.c.repo_id) & (manifest.c.digest == tag.c.digest)
        )
        column = _TOTAL
    elif order == "pulls":
        chosen = chosen.outerjoin(
            tag_pull, (tag_pull.c.repo_id == tag.c.repo_id) & (tag_pull.c.name == tag.c.name)
        )
        column = func.coalesce(tag_pull.c.count, 0)
    chosen = chosen.order_by(column.desc() if descending else column, tag.c.name).offset(offset).limit(n)
    names = list(connection.execute(chosen).scalars())
    return TagPage(_tag_rows(connection, repo_id, names), int(total))


def _tag_rows(connection: Connection, repo_id: int, names: Sequence[str]) -> list[TagRow]:
    rows: Any = connection.execute(
        select(
            tag.c.name,
            tag.c.digest,
            manifest.c.media_type,
            manifest.c.artifact_type,
            _TOTAL,
            tag.c.created_at,
            tag.c.updated_at,
            tag.c.updated_by,
            func.coalesce(tag_pull.c.count, 0),
            tag_pull.c.pulled_at,
            listed_body,
        )
        .join(manifest, (manifest.c.repo_id == tag.c.repo_id) & (manifest.c.digest == tag.c.digest))
        .outerjoin(tag_pull, (tag_pull.c.repo_id == tag.c.repo_id) & (tag_pull.c.name == tag.c.name))
        .where(tag.c.repo_id == repo_id, tag.c.name.in_(names))
    )
    found = {row[0]: TagRow(*row) for row in rows}
    return [found[name] for name in names if name in found]


def bytes_of(connection: Connection, repo_id: int, digest: str) -> int:
    """Bytes of an image; of an index, those of all its platforms, as the list of tags has them."""
    query = select(_TOTAL).where(manifest.c.repo_id == repo_id, manifest.c.digest == digest)
    return int(connection.execute(query).scalar() or 0)


def stored_configs(
    connection: Connection, repo_id: int, digests: Iterable[str]
) -> dict[str, tuple[str, int]]:
    """(physical name, size) of configurations that are here, by digest."""
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .join(repo_blob, repo_blob.c.digest == blob.c.digest)
        .where(
            repo_blob.c.repo_id == repo_id,
            repo_blob.c.deleted_at.is_(None),
            blob.c.state == "live",
            blob.c.digest.in_(list(digests)),
        )
    )
    return {row.digest: (row.phys, row.size) for row in rows}


_later = tag_event.alias("later")


def list_deleted_tags(connection: Connection, repo_id: int, *, n: int = 10) -> list[Any]:
    """Tags that are deleted and whose manifest is still kept: name, digest, at, by; last deleted first."""
    query = (
        select(tag_event.c.name, tag_event.c.old.label("digest"), tag_event.c.at, tag_event.c.by)
        .where(
            tag_event.c.repo_id == repo_id,
            tag_event.c.new.is_(None),
            ~exists().where(
                _later.c.repo_id == repo_id, _later.c.name == tag_event.c.name, _later.c.seq > tag_event.c.seq
            ),
            exists().where(manifest.c.repo_id == repo_id, manifest.c.digest == tag_event.c.old),
        )
        .order_by(tag_event.c.seq.desc())
        .limit(n)
    )
    return list(connection.execute(query).all())


def list_deleted_repositories(connection: Connection, project_id: int, *, n: int = 20) -> list[Any]:
    """Deleted repositories of a project whose name is free: name, at; last deleted first."""
    live = repo.alias("live")
    query = (
        select(repo.c.name, func.max(repo.c.deleted_at).label("at"))
        .where(
            repo.c.project_id == project_id,
            repo.c.deleted_at.is_not(None),
            ~exists().where(live.c.name == repo.c.name, live.c.deleted_at.is_(None)),
        )
        .group_by(repo.c.name)
        .order_by(func.max(repo.c.deleted_at).desc())
        .limit(n)
    )
    return list(connection.execute(query).all())


def list_layer_sharing(
    connection: Connection, visible: Visible, repo_id: int, layers: Sequence[str], *, n: int = 20
) -> list[Sharing]:
    """Other repositories that hold some of these layers, those with most bytes first; only visible ones."""
    if not layers:
        return []
    total = func.sum(blob.c.size)
    query = (
        select(repo.c.name, func.count(), total)
        .select_from(repo_blob)
        .join(blob, blob.c.digest == repo_blob.c.digest)
        .join(repo, repo.c.id == repo_blob.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .where(
            repo_blob.c.digest.in_(layers[:1000]),
            repo_blob.c.repo_id != repo_id,
            repo_blob.c.deleted_at.is_(None),
        )
        .group_by(repo.c.name)
        .order_by(total.desc(), repo.c.name)
        .limit(n)
    )
    return [
        Sharing(name, count, int(size))
        for name, count, size in connection.execute(only_visible(query, visible))
    ]


def list_tags_with_layers(
    connection: Connection, repo_id: int, layers: Sequence[str], *, without: str, n: int = 20
) -> list[tuple[str, int]]:
    """Other tags of the repository that hold some of these layers, with how many, most first."""
    if not layers:
        return []
    query = (
        select(tag.c.name, func.count().label("n"))
        .select_from(manifest_blob)
        .join(manifest, manifest.c.id == manifest_blob.c.manifest_id)
        .join(tag, (tag.c.repo_id == manifest.c.repo_id) & (tag.c.digest == manifest.c.digest))
        .where(
            manifest_blob.c.repo_id == repo_id,
            manifest_blob.c.digest.in_(layers[:1000]),
            tag.c.digest != without,
        )
        .group_by(tag.c.name)
        .order_by(func.count().desc(), tag.c.name)
        .limit(n)
    )
    return [(name, count) for name, count in connection.execute(query)]


def nobody_signed_in(connection: Connection) -> bool:
    """The registry is new: no user has chosen a password, or come from elsewhere."""
    there = exists().where(
        principal.c.kind == "user",
        or_(principal.c.password_hash.is_not(None), principal.c.source != "local"),
    )
    return not connection.execute(select(there)).scalar_one()


def biggest_repositories(connection: Connection, project_id: int, *, n: int = 20) -> list[tuple[str, int]]:
    """Repositories of a project with the bytes of the blobs they hold, most first."""
    total = func.sum(blob.c.size)
    query = (
        select(repo.c.name, total)
        .select_from(repo)
        .join(repo_blob, repo_blob.c.repo_id == repo.c.id)
        .join(blob, blob.c.digest == repo_blob.c.digest)
        .where(repo.c.project_id == project_id, repo.c.deleted_at.is_(None), repo_blob.c.deleted_at.is_(None))
        .group_by(repo.c.id, repo.c.name)
        .order_by(total.desc(), repo.c.name)
        .limit(n)
    )
    return [(name, int(size)) for name, size in connection.execute(query)]
