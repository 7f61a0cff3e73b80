"""Which tags and manifests suffer when a blob is lost: what an alarm has to say."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, select

from entrepot.server.db.tables import manifest, manifest_blob, manifest_child, repo, repo_blob, tag

MOST: Final = 1000
# Only links have an index of digests alone; a reference is found by its link.
_of_blob = manifest_blob.join(
    repo_blob,
    (repo_blob.c.repo_id == manifest_blob.c.repo_id) & (repo_blob.c.digest == manifest_blob.c.digest),
)
_direct = (
    select(manifest_blob.c.manifest_id)
    .select_from(_of_blob)
    .where(repo_blob.c.digest == bindparam("digest"))
    .cte("affected", recursive=True)
)
_child = manifest.alias("child")
_affected = _direct.union(
    select(manifest_child.c.manifest_id)
    .select_from(_direct)
    .join(_child, _child.c.id == _direct.c.manifest_id)
    .join(
        manifest_child,
        (manifest_child.c.repo_id == _child.c.repo_id) & (manifest_child.c.digest == _child.c.digest),
    )
)
_TAGS: Final = (
    select(repo.c.name, tag.c.name)
    .select_from(_affected)
    .join(manifest, manifest.c.id == _affected.c.manifest_id)
    .join(tag, (tag.c.repo_id == manifest.c.repo_id) & (tag.c.digest == manifest.c.digest))
    .join(repo, repo.c.id == manifest.c.repo_id)
    .where(manifest.c.deleted_at.is_(None), repo.c.deleted_at.is_(None))
    .order_by(repo.c.name, tag.c.name)
    .distinct()
    .limit(MOST)
)
_MANIFESTS: Final = (
    select(manifest.c.id)
    .select_from(_of_blob.join(manifest, manifest.c.id == manifest_blob.c.manifest_id))
    .where(repo_blob.c.digest == bindparam("digest"), manifest.c.deleted_at.is_(None))
    .limit(1)
)


def affected_tags(connection: Connection, digest: str) -> list[str]:
    """`repository:tag` of every tag that can't be pulled without this blob, at most MOST."""
    rows = connection.execute(_TAGS, {"digest": digest}).all()
    return [f"{row[0]}:{row[1]}" for row in rows]


def is_needed(connection: Connection, digest: str) -> bool:
    """Whether any manifest that can be pulled refers to the blob."""
    return connection.execute(_MANIFESTS, {"digest": digest}).first() is not None
