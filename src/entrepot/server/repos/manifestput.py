"""The transaction that stores a manifest. Its steps are told in `manifests`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, bindparam, insert, or_, select, update

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, Index, InvalidManifest
from entrepot.server.access.audit import record_change
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, Permit
from entrepot.server.db.clock import SECOND
from entrepot.server.db.statements import INTEGRITY_ERRORS, Prepared, is_foreign_key_violation, one_of
from entrepot.server.db.tables import (
    blob,
    manifest,
    manifest_blob,
    manifest_child,
    manifest_missing,
    repo,
    repo_blob,
    tag,
)
from entrepot.server.repos.errors import ManifestBlobUnknown, PreconditionFailed
from entrepot.server.repos.immutable import require_mutable
from entrepot.server.repos.limits import Sparse
from entrepot.server.repos.links import promote_missing
from entrepot.server.repos.records import add_usage, write_event, write_tag_event
from entrepot.server.repos.rows import RepositoryRow, ensure_repository, insert_row

__all__ = ["ManifestPut", "PutManifestResult", "put_manifest"]

_BLOBS = Prepared(
    select(repo_blob.c.digest, blob.c.size)
    .join(blob, blob.c.digest == repo_blob.c.digest)
    .where(
        repo_blob.c.repo_id == bindparam("p_repo"),
        one_of(repo_blob.c.digest, "p_digests"),
        repo_blob.c.deleted_at.is_(None),
        blob.c.state == "live",
    )
    .order_by(repo_blob.c.digest)
    .with_for_update(read=True, of=repo_blob)
)
_CHILDREN = Prepared(
    select(manifest.c.digest, manifest.c.size, manifest.c.depth)
    .where(
        manifest.c.repo_id == bindparam("p_repo"),
        one_of(manifest.c.digest, "p_digests"),
        manifest.c.deleted_at.is_(None),
    )
    .order_by(manifest.c.digest)
    .with_for_update(read=True)
)
_MANIFEST = Prepared(
    select(manifest.c.id, manifest.c.deleted_at, manifest.c.media_type, manifest.c.pushed_at)
    .where(manifest.c.repo_id == bindparam("p_repo"), manifest.c.digest == bindparam("p_digest"))
    .with_for_update(read=True)  # many may tag the same image at once
)
_NEW_MANIFEST = Prepared(
    insert(manifest)
    .values(
        {
            column: bindparam(f"p_{column}")
            for column in (
                "repo_id",
                "digest",
                "media_type",
                "size",
                "artifact_type",
                "subject",
                "annotations",
                "config",
                "depth",
                "total_size",
                "pushed_at",
                "pushed_by",
                "body",
            )
        }
    )
    .returning(manifest.c.id)
)
_AGAIN = Prepared(
    update(manifest)
    .where(manifest.c.id == bindparam("p_id"))
    .values(
        pushed_at=bindparam("p_pushed_at"),
        pushed_by=bindparam("p_pushed_by"),
        deleted_at=None,
    )
)
_REFER_BLOB = Prepared(
    insert(manifest_blob).values(
        manifest_id=bindparam("p_manifest"), digest=bindparam("p_digest"), repo_id=bindparam("p_repo")
    )
)
_REFER_CHILD = Prepared(
    insert(manifest_child).values(
        manifest_id=bindparam("p_manifest"), digest=bindparam("p_digest"), repo_id=bindparam("p_repo")
    )
)
_REFER_MISSING = Prepared(
    insert(manifest_missing).values(
        manifest_id=bindparam("p_manifest"),
        digest=bindparam("p_digest"),
        repo_id=bindparam("p_repo"),
        kind=bindparam("p_kind"),
    )
)
_TAG = Prepared(
    select(tag.c.digest)
    .where(tag.c.repo_id == bindparam("p_repo"), tag.c.name == bindparam("p_name"))
    .with_for_update()
)
_NEW_TAG = Prepared(
    insert(tag).values(
        repo_id=bindparam("p_repo"),
        name=bindparam("p_name"),
        digest=bindparam("p_digest"),
        created_at=bindparam("p_at"),
        updated_at=bindparam("p_at"),
        updated_by=bindparam("p_by"),
    )
)
_MOVE_TAG = Prepared(
    update(tag)
    .where(tag.c.repo_id == bindparam("p_repo"), tag.c.name == bindparam("p_name"))
    .values(
        digest=bindparam("p_digest"),
        version=tag.c.version + 1,
        updated_at=bindparam("p_at"),
        updated_by=bindparam("p_by"),
    )
)
_PUSHED = Prepared(
    update(repo)
    .where(
        repo.c.id == bindparam("p_id"),
        or_(repo.c.pushed_at.is_(None), repo.c.pushed_at < bindparam("p_before")),
    )
    .values(pushed_at=bindparam("p_at"))
)
PUSHED_AGAIN_US: Final = 10 * SECOND
"""A push notes its time on manifest and repository when the last note is older: those rows are shared by all
who push there.
"""


@dataclass(frozen=True, slots=True)
class PutManifestResult:
    """What a push did."""

    digest: Digest
    subject: Digest | None
    tags: tuple[str, ...]
    """The tags that point to it now, as they were asked for."""
    created: bool
    """Whether the repository did not have the manifest before."""


@dataclass(frozen=True, slots=True)
class ManifestPut:
    """A push, parsed and checked as far as that goes without the database."""

    repository: str
    digest: Digest
    media_type: str
    raw: bytes
    artifact_type: str | None
    subject: Digest | None
    annotations: str | None
    config: str | None
    is_index: bool
    blobs: dict[str, int]
    """Size by digest."""
    children: dict[str, int]
    tags: tuple[str, ...]
    if_match: tuple[str, ...] | None
    if_none_match_any: bool
    sparse: Sparse
    index_depth: int
    actor: Actor
    permit: Permit
    now: int
    steady: int

    @classmethod
    def of(cls, parsed: ImageManifest | Index, **rest: Any) -> ManifestPut:
        """Raises InvalidManifest when one digest is given two sizes."""
        blobs, children = parsed.references()
        subject = parsed.subject
        return cls(
            media_type=parsed.media_type,
            raw=parsed.raw,
            artifact_type=parsed.effective_artifact_type,
            subject=subject.digest if subject else None,
            annotations=(
                msgspec.json.encode(dict(parsed.annotations)).decode()
                if subject and parsed.annotations
                else None
            ),
            config=str(parsed.config.digest) if isinstance(parsed, ImageManifest) else None,
            is_index=isinstance(parsed, Index),
            blobs=_sizes(blobs),
            children=_sizes(children),
            **rest,
        )


@dataclass(frozen=True, slots=True)
class _References:
    blobs: tuple[str, ...]
    children: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]  # digest, kind
    depth: int


def put_manifest(connection: Connection, put: ManifestPut) -> PutManifestResult:
    """Store a manifest with everything around it, or nothing. Raises ManifestBlobUnknown."""
    repository = ensure_repository(connection, put.repository, actor=put.actor, permit=put.permit, at=put.now)
    put.permit(connection, Change("push", put.repository, new=str(put.digest)))
    moves = _decide_tags(connection, repository, put)
    references = _check_references(connection, repository, put)
    try:
        created, grown = _store(connection, repository, put, references)
        _set_tags(connection, repository, put, moves)
    except INTEGRITY_ERRORS as error:
        if is_foreign_key_violation(error):
            # Collection took a referenced blob between the check and now; the client pushes it again.
            raise ManifestBlobUnknown(put.repository, sorted(put.blobs | put.children)) from error
        raise
    _write_records(connection, repository.id, put, moves, created=created)
    _PUSHED.run(connection, {"p_id": repository.id, "p_at": put.now, "p_before": put.now - PUSHED_AGAIN_US})
    add_usage(connection, repository.project_id, grown, put.steady)
    return PutManifestResult(put.digest, put.subject, put.tags, created)


def _decide_tags(
    connection: Connection, repository: RepositoryRow, put: ManifestPut
) -> dict[str, str | None]:
    """The tags that will move, with what they point to now, locked in order; leave asked for each."""
    current: dict[str, str | None] = {
        name: _TAG.value(connection, {"p_repo": repository.id, "p_name": name}) for name in sorted(put.tags)
    }
    if put.if_match is not None or put.if_none_match_any:
        _check_preconditions(connection, repository, put, current)
    digest = str(put.digest)
    moves = {name: old for name, old in current.items() if old != digest}
    for name, old in moves.items():
        action = "create-tag" if old is None else "overwrite-tag"
        put.permit(connection, Change(action, put.repository, name, old, digest))
        if old is not None:
            require_mutable(connection, put.repository, name, old, doing="overwritten")
    return moves


def _check_preconditions(
    connection: Connection, repository: RepositoryRow, put: ManifestPut, current: dict[str, str | None]
) -> None:
    if put.tags:
        what, there = f"tag {put.tags[0]}", current[put.tags[0]]
    else:
        row = _MANIFEST.row(connection, {"p_repo": repository.id, "p_digest": str(put.digest)})
        what = f"manifest {put.digest}"
        there = str(put.digest) if row is not None and row[1] is None else None
    if put.if_none_match_any and there is not None:
        raise PreconditionFailed(what, there)
    if put.if_match is not None and (
        there is None or ("*" not in put.if_match and there not in put.if_match)
    ):
        raise PreconditionFailed(what, there)


def _check_references(connection: Connection, repository: RepositoryRow, put: ManifestPut) -> _References:
    """Look every reference up again, locked until commit.

    Raises ManifestBlobUnknown, which does not tell whether another repository has it, and InvalidManifest
    for a size that lies.
    """
    stored_blobs = _sizes_of(connection, _BLOBS, repository.id, put.blobs)
    wanted_children = dict(put.children)
    if put.is_index:
        # A type nobody knows may be a manifest's as well as a blob's.
        wanted_children |= {digest: size for digest, size in put.blobs.items() if digest not in stored_blobs}
    found = (
        _CHILDREN.rows(connection, {"p_repo": repository.id, "p_digests": sorted(wanted_children)})
        if wanted_children
        else []
    )
    stored_children = {digest: size for digest, size, _ in found}
    _check_sizes(put.blobs, stored_blobs)
    _check_sizes(wanted_children, stored_children)
    blobs_missing = [
        digest for digest in put.blobs if digest not in stored_blobs and digest not in stored_children
    ]
    children_missing = [digest for digest in put.children if digest not in stored_children]
    refused = [
        *(blobs_missing if put.sparse != "all" and not (put.is_index and put.sparse == "index") else ()),
        *(children_missing if put.sparse == "off" else ()),
    ]
    if refused:
        raise ManifestBlobUnknown(put.repository, refused)
    depth = 1 + max((depth for _, _, depth in found), default=0) if put.is_index else 0
    if depth > put.index_depth:
        raise InvalidManifest(f"indexes are nested more than {put.index_depth} deep")
    return _References(
        blobs=tuple(sorted(stored_blobs)),
        children=tuple(sorted(stored_children)),
        missing=(
            *((digest, "blob") for digest in sorted(blobs_missing)),
            *((digest, "manifest") for digest in sorted(children_missing)),
        ),
        depth=depth,
    )


def _sizes_of(
    connection: Connection, statement: Prepared, repo_id: int, wanted: dict[str, int]
) -> dict[str, int]:
    if not wanted:
        return {}
    rows = statement.rows(connection, {"p_repo": repo_id, "p_digests": sorted(wanted)})
    return dict(rows)


def _check_sizes(said: dict[str, int], stored: dict[str, int]) -> None:
    for digest, size in stored.items():
        if said[digest] != size:
            raise InvalidManifest(f"{digest} has {size} bytes, but the manifest says {said[digest]}")


def _store(
    connection: Connection, repository: RepositoryRow, put: ManifestPut, references: _References
) -> tuple[bool, int]:
    """Insert or revive the manifest. Returns whether it is new here, and by how many bytes the project
    grew.
    """
    digest = str(put.digest)
    row = _MANIFEST.row(connection, {"p_repo": repository.id, "p_digest": digest})
    if row is not None:
        _, deleted_at, media_type, pushed_at = row
        _check_media_type(put, media_type)
        if deleted_at is None and put.now - pushed_at < PUSHED_AGAIN_US:
            return False, 0
        _AGAIN.run(
            connection,
            {
                "p_id": row[0],
                "p_pushed_at": put.now,
                "p_pushed_by": put.actor.name,
            },
        )
        was_deleted = deleted_at is not None
        return was_deleted, len(put.raw) if was_deleted else 0
    key = insert_row(
        connection,
        _NEW_MANIFEST,
        {
            "p_repo_id": repository.id,
            "p_digest": digest,
            "p_media_type": put.media_type,
            "p_size": len(put.raw),
            "p_artifact_type": put.artifact_type,
            "p_subject": str(put.subject) if put.subject else None,
            "p_annotations": put.annotations,
            "p_config": put.config,
            "p_depth": references.depth,
            "p_total_size": len(put.raw) + sum(put.blobs.values()),
            "p_pushed_at": put.now,
            "p_pushed_by": put.actor.name,
            "p_body": put.raw,
        },
    )
    _refer(connection, _REFER_BLOB, key, repository.id, references.blobs)
    _refer(connection, _REFER_CHILD, key, repository.id, references.children)
    _REFER_MISSING.run_each(
        connection,
        [
            {"p_manifest": key, "p_digest": target, "p_repo": repository.id, "p_kind": kind}
            for target, kind in references.missing
        ],
    )
    promote_missing(connection, repository.id, digest, "manifest")
    return True, len(put.raw)


def _check_media_type(put: ManifestPut, stored: str) -> None:
    """A stored manifest's media type holds; only one that does not name its own can be sent with another.

    To change it would change what others have pinned by digest, and what a deleted one is when it is brought
    back. To answer 201 and keep the old one would promise what the next GET breaks; the distribution-spec
    leaves registries to refuse what they do not take with 400.
    """
    if put.media_type != stored:
        raise InvalidManifest(
            f"{put.digest} is kept as {stored}, and can't be pushed as {put.media_type} too",
            hint=f"push it as {stored}, or write the type into its mediaType field",
        )


def _refer(
    connection: Connection, statement: Prepared, manifest_id: int, repo_id: int, digests: Sequence[str]
) -> None:
    statement.run_each(
        connection, [{"p_manifest": manifest_id, "p_digest": one, "p_repo": repo_id} for one in digests]
    )


def _set_tags(
    connection: Connection, repository: RepositoryRow, put: ManifestPut, moves: dict[str, str | None]
) -> None:
    for name, old in moves.items():
        row = {
            "p_repo": repository.id,
            "p_name": name,
            "p_digest": str(put.digest),
            "p_at": put.now,
            "p_by": put.actor.name,
        }
        if old is None:
            insert_row(connection, _NEW_TAG, row)
        else:
            _MOVE_TAG.run(connection, row)
        write_tag_event(
            connection,
            repository.id,
            name,
            old=old,
            new=str(put.digest),
            at=put.steady,
            by=put.actor.name,
        )


def _write_records(
    connection: Connection, repo_id: int, put: ManifestPut, moves: dict[str, str | None], *, created: bool
) -> None:
    digest = str(put.digest)
    also = {"create-tag" if old is None else "overwrite-tag": None for old in moves.values()}
    if put.subject is not None:
        also["add-referrer"] = None
    for name, old in moves.items():
        action = "create-tag" if old is None else "overwrite-tag"
        record_change(connection, Change(action, put.repository, name, old, digest), put.actor, put.now)
    if not moves:
        tag_name = put.tags[0] if put.tags else None
        record_change(connection, Change("push", put.repository, tag_name, new=digest), put.actor, put.now)
    write_event(
        connection,
        "push",
        put.repository,
        put.actor,
        put.now,
        also=tuple(also),
        repository_id=repo_id,
        digest=digest,
        media_type=put.media_type,
        size=len(put.raw),
        tags=list(put.tags),
        replaced={name: old for name, old in moves.items() if old},
        subject=str(put.subject) if put.subject else None,
        created=created,
    )


def _sizes(descriptors: Sequence[Descriptor]) -> dict[str, int]:
    return {str(descriptor.digest): descriptor.size for descriptor in descriptors}
