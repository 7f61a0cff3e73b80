"""The moves of tags: which were deleted, and what they had been."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from entrepot.server.db.tables import manifest, tag, tag_event

__all__ = ["deleted_between", "kept_among", "last_deletions", "names_among", "present", "was"]


def last_deletions(connection: Connection, repo_id: int, n: int) -> list[int]:
    """Numbers of the last `n` deletions, rising."""
    query = (
        select(tag_event.c.seq)
        .where(tag_event.c.repo_id == repo_id, tag_event.c.new.is_(None))
        .order_by(tag_event.c.seq.desc())
        .limit(n)
    )
    return sorted(connection.execute(query).scalars())


def deleted_between(connection: Connection, repo_id: int, first: int, last: int) -> list[tuple[str, str]]:
    """Tags that went in these events, each with what it was."""
    query = select(tag_event.c.name, tag_event.c.old).where(
        tag_event.c.repo_id == repo_id,
        tag_event.c.seq.between(first, last),
        tag_event.c.new.is_(None),
        tag_event.c.old.is_not(None),
    )
    return [(name, old) for name, old in connection.execute(query.order_by(tag_event.c.seq))]


def names_among(connection: Connection, repo_id: int, names: Collection[str]) -> set[str]:
    """Of these names, those that are tags now."""
    query = select(tag.c.name).where(tag.c.repo_id == repo_id, tag.c.name.in_(names))
    return set(connection.execute(query).scalars())


def present(connection: Connection, repo_id: int, name: str) -> str | None:
    """The digest that the tag points to."""
    query = select(tag.c.digest).where(tag.c.repo_id == repo_id, tag.c.name == name)
    return connection.execute(query).scalar_one_or_none()


def was(connection: Connection, repo_id: int, name: str, digest: str) -> bool:
    """Whether the tag ever pointed to the digest."""
    query = select(tag_event.c.seq).where(
        tag_event.c.repo_id == repo_id,
        tag_event.c.name == name,
        (tag_event.c.old == digest) | (tag_event.c.new == digest),
    )
    return connection.execute(query.limit(1)).first() is not None


def kept_among(connection: Connection, repo_id: int, digests: Collection[str]) -> set[str]:
    """Of these, the manifests that have not been collected."""
    query = select(manifest.c.digest).where(manifest.c.repo_id == repo_id, manifest.c.digest.in_(digests))
    return set(connection.execute(query).scalars())
