"""Repositories, tags, manifests, referrers and sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Select,
    and_,
    case,
    exists,
    func,
    literal,
    or_,
    select,
    true,
)

from entrepot.errors import NotFound
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.control.foreign import read_object, short_text
from entrepot.server.db.tables import (
    blob,
    manifest,
    manifest_blob,
    manifest_child,
    project,
    repo,
    repo_blob,
    tag,
    tag_pull,
)
from entrepot.server.db.tables.access import repo_label, repo_profile, star
from entrepot.server.repos.visibility import is_visible, only_visible

__all__ = [
    "ListedRepository",
    "ManifestRow",
    "TagRow",
    "closure",
    "count_labels",
    "get_manifest_row",
    "get_repository",
    "get_tag",
    "list_manifests",
    "list_referrers",
    "list_repositories",
    "list_tags",
    "listed_body",
    "platforms_of",
    "repository_sizes",
    "tag_sizes",
]

MAX_CLOSURE: Final = 5_000
"""Manifests looked at for the sizes of one tag."""
MAX_LISTED_BYTES: Final = 64 * 1024
"""Larger manifests are not read for a list: their platforms are told where one alone is shown."""
_NO_BYTES: Final = literal(b"", LargeBinary)
listed_body: Final = case((manifest.c.size <= MAX_LISTED_BYTES, manifest.c.body), else_=_NO_BYTES)
"""A manifest's bytes in a list of many: every tag may point to the same large one."""


@dataclass(slots=True)
class ListedRepository:
    """A repository in a list. Times in microseconds since 1970."""

    id: int
    name: str
    project: str
    description: str
    tags: int
    stars: int
    pulls: int
    created_at: int
    pushed_at: int | None
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TagRow:
    """A tag with its manifest."""

    name: str
    digest: str
    media_type: str
    artifact_type: str | None
    total_size: int
    created_at: int
    updated_at: int
    updated_by: str
    pulls: int
    pulled_at: int | None
    body: bytes


@dataclass(frozen=True, slots=True)
class ManifestRow:
    """A manifest with its bytes."""

    id: int
    digest: str
    media_type: str
    artifact_type: str | None
    size: int
    total_size: int
    pushed_at: int
    pushed_by: str
    config: str | None
    body: bytes


# Correlated sub-selects, one a figure: joins would multiply the rows they count.
_TAGS = select(func.count()).where(tag.c.repo_id == repo.c.id).correlate(repo).scalar_subquery()
_STARS = select(func.count()).where(star.c.repo_id == repo.c.id).correlate(repo).scalar_subquery()
_PULLS = (
    select(func.coalesce(func.sum(tag_pull.c.count), 0))
    .where(tag_pull.c.repo_id == repo.c.id)
    .correlate(repo)
    .scalar_subquery()
)
_REPOSITORIES: Final = (
    select(
        repo.c.id,
        repo.c.name,
        project.c.name.label("project"),
        func.coalesce(repo_profile.c.description, "").label("description"),
        _TAGS.label("tags"),
        _STARS.label("stars"),
        _PULLS.label("pulls"),
        repo.c.created_at,
        repo.c.pushed_at,
    )
    .join(project, project.c.id == repo.c.project_id)
    .outerjoin(repo_profile, repo_profile.c.repo_id == repo.c.id)
)


def _live_tags(body: ColumnElement[bytes]) -> Select[Any]:
    return (
        select(
            tag.c.name,
            tag.c.digest,
            manifest.c.media_type,
            manifest.c.artifact_type,
            manifest.c.total_size,
            tag.c.created_at,
            tag.c.updated_at,
            tag.c.updated_by,
            func.coalesce(tag_pull.c.count, 0).label("pulls"),
            tag_pull.c.pulled_at,
            body,
        )
        .join(manifest, and_(manifest.c.repo_id == tag.c.repo_id, manifest.c.digest == tag.c.digest))
        .outerjoin(tag_pull, and_(tag_pull.c.repo_id == tag.c.repo_id, tag_pull.c.name == tag.c.name))
    )


def _manifests(body: ColumnElement[bytes]) -> Select[Any]:
    return select(
        manifest.c.id,
        manifest.c.digest,
        manifest.c.media_type,
        manifest.c.artifact_type,
        manifest.c.size,
        manifest.c.total_size,
        manifest.c.pushed_at,
        manifest.c.pushed_by,
        manifest.c.config,
        body,
    ).where(manifest.c.deleted_at.is_(None))


_LISTED_TAGS: Final = _live_tags(listed_body)
_ONE_TAG: Final = _live_tags(manifest.c.body)
_LISTED_MANIFESTS: Final = _manifests(_NO_BYTES)
_ONE_MANIFEST: Final = _manifests(manifest.c.body)


def list_repositories(
    connection: Connection,
    visible: Visible,
    *,
    last: str = "",
    n: int = 100,
    project_name: str | None = None,
    label: str | None = None,
    starred_by: int | None = None,
) -> list[ListedRepository]:
    """By name, after `last`."""
    query = only_visible(_REPOSITORIES, visible).where(repo.c.name > last).order_by(repo.c.name).limit(n)
    if project_name is not None:
        query = query.where(project.c.name == project_name)
    if label is not None:
        query = query.where(repo.c.id.in_(select(repo_label.c.repo_id).where(repo_label.c.label == label)))
    if starred_by is not None:
        query = query.where(repo.c.id.in_(select(star.c.repo_id).where(star.c.principal_id == starred_by)))
    return _with_labels(connection, [ListedRepository(*row) for row in connection.execute(query)])


def get_repository(connection: Connection, name: str) -> ListedRepository:
    """Raises NotFound, also for a deleted one: its row is kept for undo."""
    live = (repo.c.deleted_at.is_(None), project.c.deleted_at.is_(None))
    row: Any = connection.execute(_REPOSITORIES.where(repo.c.name == name, *live)).one_or_none()
    if row is None:
        raise NotFound(f"no repository is called {name}")
    return _with_labels(connection, [ListedRepository(*row)])[0]


def _with_labels(connection: Connection, rows: list[ListedRepository]) -> list[ListedRepository]:
    by_id = {row.id: row for row in rows}
    query = select(repo_label).where(repo_label.c.repo_id.in_(by_id)).order_by(repo_label.c.label)
    for row in connection.execute(query) if by_id else ():
        by_id[row.repo_id].labels.append(row.label)
    return rows


def repository_sizes(connection: Connection, repo_id: int, visible: Visible) -> tuple[int, int]:
    """Bytes of its blobs and manifests, and how many of the blobs' other visible repositories hold too."""
    manifests = connection.execute(
        select(func.coalesce(func.sum(manifest.c.size), 0)).where(
            manifest.c.repo_id == repo_id, manifest.c.deleted_at.is_(None)
        )
    ).scalar_one()
    elsewhere = repo_blob.alias("elsewhere")
    shared = exists().where(
        elsewhere.c.digest == repo_blob.c.digest,
        elsewhere.c.repo_id != repo_id,
        elsewhere.c.deleted_at.is_(None),
        _repository_is_seen(elsewhere.c.repo_id, visible),
    )
    total, common = connection.execute(
        select(
            func.coalesce(func.sum(blob.c.size), 0),
            func.coalesce(func.sum(case((shared, blob.c.size), else_=0)), 0),
        )
        .join(repo_blob, repo_blob.c.digest == blob.c.digest)
        .where(repo_blob.c.repo_id == repo_id, repo_blob.c.deleted_at.is_(None))
    ).one()
    return int(manifests) + int(total), int(common)


def list_tags(
    connection: Connection, repo_id: int, *, last: str = "", n: int = 100, contains: str = ""
) -> list[TagRow]:
    """By name, after `last`."""
    query = _LISTED_TAGS.where(tag.c.repo_id == repo_id, tag.c.name > last).order_by(tag.c.name).limit(n)
    if contains:
        query = query.where(tag.c.name.contains(contains, autoescape=True))
    rows: Any = connection.execute(query)
    return [TagRow(*row) for row in rows]


def get_tag(connection: Connection, repo_id: int, name: str) -> TagRow:
    """Raises NotFound."""
    row: Any = connection.execute(_ONE_TAG.where(tag.c.repo_id == repo_id, tag.c.name == name)).one_or_none()
    if row is None:
        raise NotFound(f"no tag is called {name}")
    return TagRow(*row)


def closure(connection: Connection, repo_id: int, digest: str) -> set[int]:
    """Ids of a manifest and all it refers to, as far as they are here."""
    found: set[int] = set()
    waiting = {digest}
    while waiting and len(found) < MAX_CLOSURE:
        rows = connection.execute(
            select(manifest.c.id).where(manifest.c.repo_id == repo_id, manifest.c.digest.in_(waiting))
        ).scalars()
        fresh = set(rows) - found
        found |= fresh
        children = connection.execute(
            select(manifest_child.c.digest).where(manifest_child.c.manifest_id.in_(fresh))
        ).scalars()
        waiting = set(children) if fresh else set()
    return found


def tag_sizes(
    connection: Connection, repo_id: int, digest: str, visible: Visible, *, tags: Collection[str]
) -> tuple[int, int]:
    """(unique, shared) bytes of the blobs and manifests a tag needs, `tags` being all that point to the same.

    Unique is what nothing outside of it needs, in any visible repository: what is freed when it goes, as far
    as the caller may know. Whether a hidden repository holds the same is not told.
    """
    ids = closure(connection, repo_id, digest)
    if not ids:
        return 0, 0
    other_manifest, other_blob = manifest.alias("om"), manifest_blob.alias("ob")
    needed_elsewhere = (
        exists()
        .where(
            other_blob.c.digest == blob.c.digest,
            other_manifest.c.id == other_blob.c.manifest_id,
            other_manifest.c.deleted_at.is_(None),
            other_blob.c.manifest_id.not_in(ids),
            or_(other_manifest.c.repo_id == repo_id, _repository_is_seen(other_manifest.c.repo_id, visible)),
        )
        .correlate(blob)
    )
    mine = select(manifest_blob.c.digest).where(manifest_blob.c.manifest_id.in_(ids))
    unique, shared = connection.execute(
        select(
            func.coalesce(func.sum(case((needed_elsewhere, 0), else_=blob.c.size)), 0),
            func.coalesce(func.sum(case((needed_elsewhere, blob.c.size), else_=0)), 0),
        ).where(blob.c.digest.in_(mine))
    ).one()
    manifests = connection.execute(
        select(func.sum(manifest.c.size)).where(manifest.c.id.in_(ids))
    ).scalar_one()
    unique = int(unique) + int(manifests or 0)
    # What another tag keeps is not freed.
    return (unique, int(shared)) if len(tags) < 2 else (0, unique + int(shared))


def _repository_is_seen(repo_id: ColumnElement[int], visible: Visible) -> ColumnElement[bool]:
    if visible.everything and visible.only is None:
        return true()
    elsewhere, its_project = repo.alias("its"), project.alias("its_project")
    return exists().where(
        elsewhere.c.id == repo_id,
        its_project.c.id == elsewhere.c.project_id,
        elsewhere.c.deleted_at.is_(None),
        is_visible(visible, elsewhere, its_project),
    )


def list_manifests(
    connection: Connection, repo_id: int, *, last: str = "", n: int = 100, untagged: bool = False
) -> list[tuple[ManifestRow, list[str]]]:
    """By digest, with the tags on each; without their bytes."""
    query = (
        _LISTED_MANIFESTS.where(manifest.c.repo_id == repo_id, manifest.c.digest > last)
        .order_by(manifest.c.digest)
        .limit(n)
    )
    if untagged:
        query = query.where(
            ~exists().where(tag.c.repo_id == manifest.c.repo_id, tag.c.digest == manifest.c.digest)
        )
    rows: Any = connection.execute(query)
    found = [ManifestRow(*row) for row in rows]
    names = tags_on(connection, repo_id, [row.digest for row in found])
    return [(row, names.get(row.digest, [])) for row in found]


def tags_on(connection: Connection, repo_id: int, digests: Iterable[str]) -> dict[str, list[str]]:
    """Tags by the digest they point to."""
    wanted = list(digests)
    names: dict[str, list[str]] = {}
    query = (
        select(tag.c.digest, tag.c.name)
        .where(tag.c.repo_id == repo_id, tag.c.digest.in_(wanted))
        .order_by(tag.c.name)
    )
    for row in connection.execute(query) if wanted else ():
        names.setdefault(row.digest, []).append(row.name)
    return names


def get_manifest_row(connection: Connection, repo_id: int, digest: str) -> ManifestRow:
    """Raises NotFound."""
    row: Any = connection.execute(
        _ONE_MANIFEST.where(manifest.c.repo_id == repo_id, manifest.c.digest == digest)
    ).one_or_none()
    if row is None:
        raise NotFound(f"no manifest has the digest {digest}")
    return ManifestRow(*row)


def list_referrers(connection: Connection, repo_id: int, digest: str, *, n: int = 1000) -> list[Any]:
    """Rows of digest, artifact_type, size, annotations (JSON) of what refers to a manifest."""
    query = (
        select(manifest.c.digest, manifest.c.artifact_type, manifest.c.total_size, manifest.c.annotations)
        .where(manifest.c.repo_id == repo_id, manifest.c.subject == digest, manifest.c.deleted_at.is_(None))
        .order_by(manifest.c.digest)
        .limit(n)
    )
    return list(connection.execute(query).all())


def platforms_of(body: bytes) -> list[tuple[str, str | None, int, str]]:
    """(digest, platform, size, media type) of an index's manifests; nothing for other manifests."""
    children = read_object(body).get("manifests")
    found = []
    for child in children if isinstance(children, list) else ():
        if isinstance(child, dict) and isinstance(child.get("digest"), str):
            size, kind = child.get("size"), child.get("mediaType")
            found.append(
                (
                    child["digest"],
                    _platform_text(child.get("platform")),
                    size if isinstance(size, int) else 0,
                    kind if isinstance(kind, str) else "",
                )
            )
    return found


def _platform_text(platform: Any) -> str | None:
    if not isinstance(platform, dict) or not platform.get("os") or platform.get("os") == "unknown":
        return None
    parts = [platform.get("os"), platform.get("architecture"), platform.get("variant")]
    return "/".join(short_text(part) for part in parts if part)


def count_labels(connection: Connection, visible: Visible, *, n: int = 1000) -> list[tuple[str, int]]:
    """Labels with how many visible repositories carry them."""
    query = (
        select(repo_label.c.label, func.count())
        .join(repo, repo.c.id == repo_label.c.repo_id)
        .join(project, project.c.id == repo.c.project_id)
        .group_by(repo_label.c.label)
        .order_by(repo_label.c.label)
        .limit(n)
    )
    return [(label, count) for label, count in connection.execute(only_visible(query, visible))]
