"""What garbage collection looks for and how it removes it: one pair of statements for each kind of thing.

The candidates' SELECTs serve the real run and the dry one. They are only hints: each DELETE carries its
conditions again and runs in the transaction that counts, and behind it the foreign keys have the last word.

Bound names: `steady` the time, `cutoff` the start of the undo window, `limit` rows of a page.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    not_,
    or_,
    select,
    tuple_,
)

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
    trash,
    upload,
)

STEADY: Final[BindParameter[int]] = bindparam("steady")
CUTOFF: Final[BindParameter[int]] = bindparam("cutoff")
LIMIT: Final[BindParameter[int]] = bindparam("limit")

_parent = manifest.alias("parent")
_parent_repo = repo.alias("parent_repo")
_holder = manifest.alias("holder")
_holder_repo = repo.alias("holder_repo")
_referrer = manifest.alias("referrer")
_subject = manifest.alias("subject")
_other = repo_blob.alias("other")
_other_repo = repo.alias("other_repo")


def _over(rows: FromClause) -> ColumnElement[bool]:
    """Deleted so long ago that it can't be brought back; never NULL."""
    return func.coalesce(rows.c.deleted_at < CUTOFF, false())


def _buried(rows: FromClause, repos: FromClause) -> ColumnElement[bool]:
    """Deleted for good, itself or with its repository."""
    return or_(_over(rows), _over(repos))


# Manifests whose undo window is over, the outermost index first.

_held_by_parent = exists(
    select(1)
    .select_from(manifest_child)
    .join(_parent, _parent.c.id == manifest_child.c.manifest_id)
    .join(_parent_repo, _parent_repo.c.id == _parent.c.repo_id)
    .where(
        manifest_child.c.repo_id == manifest.c.repo_id,
        manifest_child.c.digest == manifest.c.digest,
        not_(_buried(_parent, _parent_repo)),
    )
)
BURIED_MANIFESTS: Final = (
    select(
        manifest.c.id,
        manifest.c.digest,
        manifest.c.size,
        manifest.c.depth,
        repo.c.name.label("repository"),
        func.coalesce(manifest.c.deleted_at, repo.c.deleted_at).label("deleted_at"),
    )
    .join(repo, repo.c.id == manifest.c.repo_id)
    .where(
        _buried(manifest, repo),
        not_(_held_by_parent),
        or_(
            manifest.c.depth < bindparam("after_depth"),
            and_(manifest.c.depth == bindparam("after_depth"), manifest.c.id > bindparam("after_id")),
        ),
    )
    .order_by(manifest.c.depth.desc(), manifest.c.id)
    .limit(LIMIT)
)
DELETE_BURIED_MANIFESTS: Final = (
    delete(manifest)
    .where(
        manifest.c.id.in_(bindparam("ids", expanding=True)),
        or_(
            manifest.c.deleted_at < CUTOFF,
            exists(select(1).where(repo.c.id == manifest.c.repo_id, repo.c.deleted_at < CUTOFF)),
        ),
        not_(
            exists(
                select(1).where(
                    manifest_child.c.repo_id == manifest.c.repo_id,
                    manifest_child.c.digest == manifest.c.digest,
                )
            )
        ),
    )
    .returning(manifest.c.id)
)
DELETE_TAGS_OF_BURIED_REPOSITORIES: Final = delete(tag).where(
    tag.c.repo_id.in_(select(repo.c.id).where(repo.c.deleted_at < CUTOFF))
)

# Untagged manifests, when asked. What an index, a tagged referrer or a subject needs stays.

UNTAGGED_MANIFESTS: Final = (
    select(
        manifest.c.id,
        manifest.c.digest,
        manifest.c.size,
        manifest.c.pushed_at,
        repo.c.name.label("repository"),
    )
    .join(repo, repo.c.id == manifest.c.repo_id)
    .where(
        manifest.c.id > bindparam("after_id"),
        manifest.c.deleted_at.is_(None),
        repo.c.deleted_at.is_(None),
        manifest.c.pushed_at < bindparam("older"),
        not_(exists(select(1).where(tag.c.repo_id == manifest.c.repo_id, tag.c.digest == manifest.c.digest))),
        not_(
            exists(
                select(1).where(
                    tag_event.c.repo_id == manifest.c.repo_id,
                    tag_event.c.old == manifest.c.digest,
                    tag_event.c.at >= bindparam("older"),
                )
            )
        ),
        not_(
            exists(
                select(1)
                .select_from(manifest_child)
                .join(_parent, _parent.c.id == manifest_child.c.manifest_id)
                .where(
                    manifest_child.c.repo_id == manifest.c.repo_id,
                    manifest_child.c.digest == manifest.c.digest,
                    _parent.c.deleted_at.is_(None),
                )
            )
        ),
        not_(
            exists(
                select(1)
                .select_from(_referrer)
                .join(tag, and_(tag.c.repo_id == _referrer.c.repo_id, tag.c.digest == _referrer.c.digest))
                .where(
                    _referrer.c.repo_id == manifest.c.repo_id,
                    _referrer.c.subject == manifest.c.digest,
                    _referrer.c.deleted_at.is_(None),
                )
            )
        ),
        not_(
            exists(
                select(1)
                .select_from(_subject)
                .where(
                    _subject.c.repo_id == manifest.c.repo_id,
                    _subject.c.digest == manifest.c.subject,
                    _subject.c.deleted_at.is_(None),
                )
            )
        ),
    )
    .order_by(manifest.c.id)
    .limit(LIMIT)
)
STILL_UNTAGGED: Final = UNTAGGED_MANIFESTS.with_only_columns(manifest.c.id).where(
    manifest.c.id == bindparam("one")
)

# Links of repositories to blobs that no manifest of theirs needs.


def _unneeded(links: FromClause, repos: FromClause) -> ColumnElement[bool]:
    """A link that may go, as far as links and manifests say; the lease is the blob's."""
    return and_(
        or_(links.c.deleted_at.is_(None), _buried(links, repos)),
        not_(
            exists(
                select(1)
                .select_from(manifest_blob)
                .join(_holder, _holder.c.id == manifest_blob.c.manifest_id)
                .join(_holder_repo, _holder_repo.c.id == _holder.c.repo_id)
                .where(
                    manifest_blob.c.repo_id == links.c.repo_id,
                    manifest_blob.c.digest == links.c.digest,
                    not_(_buried(_holder, _holder_repo)),
                )
            )
        ),
    )


LINKS: Final = (
    select(
        repo_blob.c.repo_id,
        repo_blob.c.digest,
        repo_blob.c.deleted_at,
        blob.c.size,
        blob.c.lease_until,
        repo.c.name.label("repository"),
        repo.c.project_id,
    )
    .select_from(repo_blob)
    .join(blob, blob.c.digest == repo_blob.c.digest)
    .join(repo, repo.c.id == repo_blob.c.repo_id)
    .where(
        tuple_(repo_blob.c.repo_id, repo_blob.c.digest)
        > tuple_(bindparam("after_repo"), bindparam("after_digest")),
        blob.c.lease_until < STEADY,
        _unneeded(repo_blob, repo),
    )
    .order_by(repo_blob.c.repo_id, repo_blob.c.digest)
    .limit(LIMIT)
)
LOCK_BLOBS: Final = (
    select(blob.c.digest)
    .where(blob.c.digest.in_(bindparam("digests", expanding=True)), blob.c.lease_until < STEADY)
    .order_by(blob.c.digest)
    .with_for_update(skip_locked=True)
)
DELETE_LINKS: Final = (
    delete(repo_blob)
    .where(
        repo_blob.c.repo_id == bindparam("repo_id"),
        repo_blob.c.digest.in_(bindparam("digests", expanding=True)),
        or_(
            repo_blob.c.deleted_at.is_(None),
            repo_blob.c.deleted_at < CUTOFF,
            exists(select(1).where(repo.c.id == repo_blob.c.repo_id, repo.c.deleted_at < CUTOFF)),
        ),
        not_(
            exists(
                select(1).where(
                    manifest_blob.c.repo_id == repo_blob.c.repo_id,
                    manifest_blob.c.digest == repo_blob.c.digest,
                )
            )
        ),
    )
    .returning(repo_blob.c.digest, repo_blob.c.deleted_at)
)

IS_LIVE_REPOSITORY: Final = select(repo.c.id).where(
    repo.c.id == bindparam("one"), repo.c.deleted_at.is_(None)
)
"""What a deleted repository holds is in no project's usage."""

# Blobs that no repository links.

BLOBS: Final = (
    select(blob.c.digest, blob.c.phys, blob.c.size, blob.c.state, blob.c.lease_until)
    .where(
        blob.c.digest > bindparam("after_digest"),
        blob.c.lease_until < STEADY,
        not_(
            exists(
                select(1)
                .select_from(_other)
                .join(_other_repo, _other_repo.c.id == _other.c.repo_id)
                .where(_other.c.digest == blob.c.digest, not_(_unneeded(_other, _other_repo)))
            )
        ),
    )
    .order_by(blob.c.digest)
    .limit(LIMIT)
)
DELETE_BLOBS: Final = (
    delete(blob)
    .where(
        blob.c.digest.in_(bindparam("digests", expanding=True)),
        blob.c.lease_until < STEADY,
        not_(exists(select(1).where(repo_blob.c.digest == blob.c.digest))),
    )
    .returning(blob.c.digest, blob.c.phys, blob.c.size)
)

# Uploads that nobody has written to for long.

UPLOADS: Final = (
    select(upload.c.id, upload.c.phys, upload.c.offset, upload.c.expires_at, repo.c.name.label("repository"))
    .join(repo, repo.c.id == upload.c.repo_id)
    .where(
        upload.c.id > bindparam("after_id"),
        upload.c.expires_at < STEADY,
        or_(upload.c.claimed_until.is_(None), upload.c.claimed_until < STEADY),
    )
    .order_by(upload.c.id)
    .limit(LIMIT)
)
DELETE_UPLOADS: Final = (
    delete(upload)
    .where(
        upload.c.id.in_(bindparam("ids", expanding=True)),
        upload.c.expires_at < STEADY,
        or_(upload.c.claimed_until.is_(None), upload.c.claimed_until < STEADY),
    )
    .returning(upload.c.id, upload.c.phys, upload.c.offset)
)

# Repositories and projects whose last content is gone.

BURIED_REPOSITORIES: Final = (
    select(repo.c.id, repo.c.name, repo.c.deleted_at)
    .where(
        repo.c.deleted_at < CUTOFF,
        repo.c.id > bindparam("after_id"),
        not_(exists(select(1).where(upload.c.repo_id == repo.c.id))),
    )
    .order_by(repo.c.id)
    .limit(LIMIT)
)
DELETE_REPOSITORY: Final = delete(repo).where(
    repo.c.id == bindparam("one"),
    repo.c.deleted_at < CUTOFF,
    not_(exists(select(1).where(upload.c.repo_id == repo.c.id))),
)
DELETE_PROJECTS: Final = delete(project).where(
    project.c.deleted_at < CUTOFF, not_(exists(select(1).where(repo.c.project_id == project.c.id)))
)

# The trash.

TRASH_DUE: Final = (
    select(trash.c.phys, trash.c.size, trash.c.reason)
    .where(
        trash.c.delete_after <= STEADY,
        or_(trash.c.leased_until.is_(None), trash.c.leased_until < STEADY),
    )
    .order_by(trash.c.delete_after)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
