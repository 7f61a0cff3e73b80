"""Rows about what was made of content, as transactions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, bindparam, delete, func, insert, select

from entrepot.inventory.files.stored import VERSION
from entrepot.server.db.tables import blob, derived, manifest, project, repo

__all__ = [
    "IMAGE_FILES",
    "LAYER_FILES",
    "Derived",
    "ImageToRead",
    "find",
    "forget",
    "gone",
    "layers_of",
    "newest",
    "objects",
    "record",
    "totals",
    "waiting",
]

LAYER_FILES = "layer-files"
IMAGE_FILES = "image-files"
_CONFIGS = (
    "application/vnd.oci.image.config.v1+json",
    "application/vnd.docker.container.image.v1+json",
)


@dataclass(frozen=True, slots=True)
class Derived:
    """Something that was made, or could not be."""

    kind: str
    digest: str
    state: str
    object: str | None
    bytes: int
    reason: str | None
    detail: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ImageToRead:
    """An image whose files nobody has looked at."""

    id: int
    digest: str
    repository: str
    project: str
    body: bytes


def find(connection: Connection, kind: str, digests: Sequence[str]) -> dict[str, Derived]:
    """By digest, those of this version."""
    rows = connection.execute(
        select(derived).where(
            derived.c.kind == kind, derived.c.digest.in_(list(digests)), derived.c.version == VERSION
        )
    )
    return {row.digest: _derived(row) for row in rows}


def _derived(row: Any) -> Derived:
    detail = json.loads(row.detail) if row.detail else {}
    return Derived(row.kind, row.digest, row.state, row.object, row.bytes, row.reason, detail)


def record(connection: Connection, made: Derived, now: int) -> str | None:
    """In the place of what was there; returns that one's object, which nobody needs any more."""
    key = (derived.c.kind == made.kind, derived.c.digest == made.digest)
    old = connection.execute(select(derived.c.object).where(*key)).scalar_one_or_none()
    connection.execute(delete(derived).where(*key))
    connection.execute(
        insert(derived).values(
            kind=made.kind,
            digest=made.digest,
            version=VERSION,
            state=made.state,
            object=made.object,
            bytes=made.bytes,
            reason=made.reason,
            detail=json.dumps(made.detail) if made.detail else None,
            made_at=now,
        )
    )
    return old if old != made.object else None


_WAITING = (
    select(manifest.c.id, manifest.c.digest, repo.c.name, project.c.name.label("project"), manifest.c.body)
    .select_from(manifest)
    .join(repo, repo.c.id == manifest.c.repo_id)
    .join(project, project.c.id == repo.c.project_id)
    .outerjoin(
        derived,
        and_(
            derived.c.kind == IMAGE_FILES,
            derived.c.digest == manifest.c.digest,
            derived.c.version == VERSION,
        ),
    )
    .where(
        manifest.c.id > bindparam("p_after"),
        manifest.c.artifact_type.in_(_CONFIGS),
        manifest.c.deleted_at.is_(None),
        repo.c.deleted_at.is_(None),
        derived.c.digest.is_(None),
    )
    .order_by(manifest.c.id)
    .limit(bindparam("p_n"))
)


def waiting(connection: Connection, *, after: int, n: int) -> list[ImageToRead]:
    """Images of which there is no view, by the order of their pushes."""
    rows = connection.execute(_WAITING, {"p_after": after, "p_n": n})
    return [ImageToRead(row.id, row.digest, row.name, row.project, row.body) for row in rows]


def newest(connection: Connection) -> int:
    """The id of the manifest that was pushed last."""
    return connection.execute(select(func.max(manifest.c.id))).scalar_one() or 0


def layers_of(connection: Connection, digests: Sequence[str]) -> dict[str, tuple[str, int]]:
    """Physical name and size of blobs that are good."""
    rows = connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size).where(
            blob.c.digest.in_(list(digests)), blob.c.state == "live"
        )
    )
    return {row.digest: (row.phys, row.size) for row in rows}


def gone(connection: Connection, *, n: int) -> list[Derived]:
    """What was made of content that is no longer stored."""
    of_layers = (
        select(derived)
        .outerjoin(blob, blob.c.digest == derived.c.digest)
        .where(derived.c.kind == LAYER_FILES, blob.c.digest.is_(None))
        .limit(n)
    )
    of_images = (
        select(derived)
        .outerjoin(manifest, manifest.c.digest == derived.c.digest)
        .where(derived.c.kind == IMAGE_FILES, manifest.c.id.is_(None))
        .limit(n)
    )
    return [_derived(row) for query in (of_layers, of_images) for row in connection.execute(query)]


def forget(connection: Connection, kind: str, digests: Sequence[str]) -> None:
    """Drop rows, so that they are made again or not at all."""
    connection.execute(delete(derived).where(derived.c.kind == kind, derived.c.digest.in_(list(digests))))


def objects(connection: Connection, names: Sequence[str]) -> set[str]:
    """Those of the names that a row knows."""
    return set(
        connection.execute(select(derived.c.object).where(derived.c.object.in_(list(names)))).scalars()
    )


def totals(connection: Connection) -> dict[str, tuple[int, int]]:
    """Number and bytes of what there is, by kind."""
    rows = connection.execute(
        select(derived.c.kind, func.count(), func.coalesce(func.sum(derived.c.bytes), 0)).group_by(
            derived.c.kind
        )
    )
    return {kind: (number, int(size)) for kind, number, size in rows}
