"""What there is to write out, a page at a time: children before what names them, referrers last."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, case, exists, literal, select, tuple_

from entrepot.content.protocols import ManifestBytes
from entrepot.oci.digest import Digest
from entrepot.server.backup.oci_form import as_oci
from entrepot.server.db.tables import blob, manifest, manifest_blob, manifest_child, repo, tag

__all__ = ["RepositoryToWrite", "blobs_of", "body_of", "manifests_after", "next_repository", "tags_of"]

PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class RepositoryToWrite:
    """A repository that is to be written out."""

    id: int
    name: str


def next_repository(connection: Connection, after: str) -> RepositoryToWrite | None:
    row = connection.execute(
        select(repo.c.id, repo.c.name)
        .where(repo.c.deleted_at.is_(None), repo.c.name > after)
        .order_by(repo.c.name)
        .limit(1)
    ).one_or_none()
    return None if row is None else RepositoryToWrite(row.id, row.name)


def tags_of(connection: Connection, repo_id: int, digest: str) -> list[str]:
    rows = connection.execute(
        select(tag.c.name).where(tag.c.repo_id == repo_id, tag.c.digest == digest).order_by(tag.c.name)
    )
    return list(rows.scalars())


def manifests_after(connection: Connection, repo_id: int, after: tuple[bool, int, int]) -> list[Any]:
    has_subject = case((manifest.c.subject.is_(None), 0), else_=1).label("has_subject")
    is_child = (manifest_child.c.repo_id == manifest.c.repo_id) & (
        manifest_child.c.digest == manifest.c.digest
    )
    has_parent = exists().where(is_child).label("has_parent")
    place = tuple_(has_subject, manifest.c.depth, manifest.c.id)
    rows = connection.execute(
        select(manifest.c.id, manifest.c.digest, manifest.c.depth, has_subject, has_parent)
        .where(
            manifest.c.repo_id == repo_id,
            manifest.c.deleted_at.is_(None),
            place > tuple_(*map(literal, (int(after[0]), after[1], after[2]))),
        )
        .order_by(has_subject, manifest.c.depth, manifest.c.id)
        .limit(PAGE)
    )
    return list(rows)


def body_of(connection: Connection, repo_id: int, digest: str, convert: bool) -> ManifestBytes | None:
    row = connection.execute(
        select(manifest.c.body, manifest.c.media_type).where(
            manifest.c.repo_id == repo_id, manifest.c.digest == digest, manifest.c.deleted_at.is_(None)
        )
    ).one_or_none()
    if row is None:
        return None
    found = ManifestBytes(row.body, row.media_type, Digest.parse(digest))
    return as_oci(found, lambda child: body_of(connection, repo_id, child, convert)) if convert else found


def blobs_of(connection: Connection, number: int) -> list[Any]:
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size)
        .join(manifest_blob, manifest_blob.c.digest == blob.c.digest)
        .where(manifest_blob.c.manifest_id == number, blob.c.state == "live")
    )
    return list(rows)
