"""The transactions that delete a tag, and a manifest with its tags."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, delete, exists, select, update

from entrepot.server.access.audit import record_change
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, Permit
from entrepot.server.db.tables import manifest, manifest_child, tag
from entrepot.server.repos.errors import ManifestUnknown
from entrepot.server.repos.immutable import require_mutable
from entrepot.server.repos.records import add_usage, write_event, write_tag_event
from entrepot.server.repos.rows import RepositoryRow, require_repository

__all__ = ["delete_manifest", "delete_tag"]

_TAG = (
    select(tag.c.digest)
    .where(tag.c.repo_id == bindparam("p_repo"), tag.c.name == bindparam("p_name"))
    .with_for_update()
)
_DELETE_TAG = delete(tag).where(tag.c.repo_id == bindparam("p_repo"), tag.c.name == bindparam("p_name"))
_TAGS = (
    select(tag.c.name)
    .where(tag.c.repo_id == bindparam("p_repo"), tag.c.digest == bindparam("p_digest"))
    .order_by(tag.c.name)
    .with_for_update()
)
_MANIFEST = (
    select(manifest.c.id, manifest.c.size, manifest.c.subject)
    .where(
        manifest.c.repo_id == bindparam("p_repo"),
        manifest.c.digest == bindparam("p_digest"),
        manifest.c.deleted_at.is_(None),
    )
    .with_for_update()
)
_INDEX = select(
    exists(
        select(manifest.c.id)
        .join(manifest_child, manifest_child.c.manifest_id == manifest.c.id)
        .where(
            manifest_child.c.repo_id == bindparam("p_repo"),
            manifest_child.c.digest == bindparam("p_digest"),
            manifest.c.deleted_at.is_(None),
        )
    )
)
_BURY = update(manifest).where(manifest.c.id == bindparam("p_id")).values(deleted_at=bindparam("p_at"))

_ABOVE = (
    select(manifest.c.digest.label("digest"))
    .join(manifest_child, manifest_child.c.manifest_id == manifest.c.id)
    .where(manifest_child.c.repo_id == bindparam("p_repo"), manifest_child.c.digest == bindparam("p_digest"))
    .cte("above", recursive=True)
)
_ABOVE = _ABOVE.union(
    select(manifest.c.digest)
    .join(manifest_child, manifest_child.c.manifest_id == manifest.c.id)
    .join(_ABOVE, _ABOVE.c.digest == manifest_child.c.digest)
    .where(manifest_child.c.repo_id == bindparam("p_repo"))
)
_TAGS_ABOVE = (
    select(tag.c.name, tag.c.digest)
    .join(_ABOVE, _ABOVE.c.digest == tag.c.digest)
    .where(tag.c.repo_id == bindparam("p_repo"))
    .order_by(tag.c.name)
)


def delete_tag(
    connection: Connection,
    repository: str,
    name: str,
    actor: Actor,
    permit: Permit,
    now: int,
    steady: int,
    *,
    rule: str | None = None,
) -> str:
    """Returns the digest that the tag pointed to. `rule`: the one of retention that deletes it.

    Raises NameUnknown, ManifestUnknown, TagImmutable, Denied.
    """
    row = require_repository(connection, repository)
    digest: str | None = connection.execute(_TAG, {"p_repo": row.id, "p_name": name}).scalar_one_or_none()
    if digest is None:
        raise ManifestUnknown(repository, name)
    _drop_tag(connection, row, name, digest, actor, permit, now, steady, rule=rule)
    write_event(
        connection, "delete-tag", repository, actor, now, repository_id=row.id, tags=[name], digest=digest
    )
    return digest


def delete_manifest(
    connection: Connection, repository: str, digest: str, actor: Actor, permit: Permit, now: int, steady: int
) -> tuple[str, ...]:
    """Returns the tags that went with it.

    Asked of the permit for each tag on it; as a whole when it has none, or an index needs it.

    Raises ManifestUnknown.
    """
    row = require_repository(connection, repository)
    key = {"p_repo": row.id, "p_digest": digest}
    connection.execute(_TAGS, key)  # tags before manifests, as a push locks them
    found = connection.execute(_MANIFEST, key).one_or_none()
    if found is None:
        raise ManifestUnknown(repository, digest)
    names = tuple(connection.execute(_TAGS, key).scalars())
    asked: Sequence[str | None] = names
    if not names or connection.execute(_INDEX, key).scalar_one():
        asked = (None,)
    for one in asked:
        permit(connection, Change("delete-manifest", repository, one, digest))
    for name in names:
        _drop_tag(connection, row, name, digest, actor, permit, now, steady)
    for name, whole in connection.execute(_TAGS_ABOVE, key):
        # A tag that stays what it is has all its platforms.
        require_mutable(connection, repository, name, whole, doing="left without one of its images")
    connection.execute(_BURY, {"p_id": found.id, "p_at": steady})
    change = Change("delete-manifest", repository, old=digest)
    record_change(connection, change, actor, now, {"tags": list(names)} if names else None)
    write_event(
        connection,
        "delete-manifest",
        repository,
        actor,
        now,
        also=("delete-tag",) if names else (),
        repository_id=row.id,
        tags=list(names),
        digest=digest,
        subject=found.subject,
    )
    add_usage(connection, row.project_id, -found.size)
    return names


def _drop_tag(
    connection: Connection,
    repository: RepositoryRow,
    name: str,
    digest: str,
    actor: Actor,
    permit: Permit,
    now: int,
    steady: int,
    *,
    rule: str | None = None,
) -> None:
    change = Change("delete-tag", repository.name, name, digest)
    permit(connection, change)
    require_mutable(connection, repository.name, name, digest, doing="deleted", by_retention=rule is not None)
    connection.execute(_DELETE_TAG, {"p_repo": repository.id, "p_name": name})
    write_tag_event(connection, repository.id, name, old=digest, new=None, at=steady, by=actor.name)
    record_change(connection, change, actor, now, {"rule": rule} if rule else None)
