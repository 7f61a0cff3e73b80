"""What garbage collection looks for and how it removes it.

Links and blobs are looked through a *window* at a time: so many rows in the order of an index, told apart
from what is needed by walking two indexes side by side, without reading the rows themselves. What a window
finds is only a hint: it is asked again with everything that counts, and each DELETE carries its conditions
once more, in the transaction that counts, behind which the foreign keys have the last word.

Bound names: `steady` the time, `cutoff` the start of the undo window, `limit` rows of a page; `p_after` and
`p_upto` the ends of a window, the first of which is not in it.

The file is long because what finds and what deletes share their conditions, which stand here once.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    Text,
    and_,
    bindparam,
    cast,
    delete,
    exists,
    false,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    tuple_,
    union,
)

from entrepot.server.db.statements import Prepared, one_of
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

STEADY: Final[BindParameter[int]] = bindparam("steady", type_=BigInteger)
CUTOFF: Final[BindParameter[int]] = bindparam("cutoff", type_=BigInteger)
LIMIT: Final[BindParameter[int]] = bindparam("limit", type_=BigInteger)
_AFTER: Final[BindParameter[str]] = bindparam("p_after", type_=Text)
_UPTO: Final[BindParameter[str]] = bindparam("p_upto", type_=Text)
_AFTER_REPO: Final[BindParameter[int]] = bindparam("p_after_repo", type_=BigInteger)
_UPTO_REPO: Final[BindParameter[int]] = bindparam("p_upto_repo", type_=BigInteger)

BEFORE_ALL: Final = (0, "")
"""A link, and with its second part a digest, that comes before any there can be."""
AFTER_ALL: Final = (1 << 62, "~")

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
# From the two small indexes of what was deleted, whatever else there is.
_gone = manifest.alias("gone")
_gone_repo = repo.alias("gone_repo")
_buried_ids = union(
    select(_gone.c.id).where(_gone.c.deleted_at < CUTOFF),
    select(_gone.c.id)
    .join(_gone_repo, _gone_repo.c.id == _gone.c.repo_id)
    .where(_gone_repo.c.deleted_at < CUTOFF),
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
        manifest.c.id.in_(_buried_ids),
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
_buried_tag = tag.alias("buried_tag")
DELETE_TAGS_OF_BURIED_REPOSITORIES: Final = delete(tag).where(
    tuple_(tag.c.repo_id, tag.c.name).in_(
        select(_buried_tag.c.repo_id, _buried_tag.c.name)
        .join(repo, repo.c.id == _buried_tag.c.repo_id)
        .where(repo.c.deleted_at < CUTOFF)
        .limit(LIMIT)
    )
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
LOCK_MANIFEST: Final = (
    select(manifest.c.id).where(manifest.c.id == bindparam("one")).with_for_update(skip_locked=True)
)
"""Before it is asked whether it is untagged. A push that holds it is about to tag it or to refer to it."""

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


def _in_window(rows: FromClause) -> ColumnElement[bool]:
    """In the window of links. Comparing the repository alone says nothing new, but lets PostgreSQL see how
    narrow the window is.
    """
    key = tuple_(rows.c.repo_id, rows.c.digest)
    return and_(
        key > tuple_(_AFTER_REPO, _AFTER),
        key <= tuple_(_UPTO_REPO, _UPTO),
        rows.c.repo_id >= _AFTER_REPO,
        rows.c.repo_id <= _UPTO_REPO,
    )


_link_end = repo_blob.alias("link_end")
LINK_WINDOW_END: Final = Prepared(
    select(_link_end.c.repo_id, _link_end.c.digest)
    .where(
        tuple_(_link_end.c.repo_id, _link_end.c.digest) > tuple_(_AFTER_REPO, _AFTER),
        _link_end.c.repo_id >= _AFTER_REPO,
    )
    .order_by(_link_end.c.repo_id, _link_end.c.digest)
    .offset(LIMIT)
    .limit(1)
)
"""The link `limit` rows further on, none when fewer are left."""

UNNEEDED_LINKS: Final = Prepared(
    select(repo_blob.c.repo_id, repo_blob.c.digest)
    .where(
        _in_window(repo_blob),
        not_(
            exists(
                select(1).where(
                    manifest_blob.c.repo_id == repo_blob.c.repo_id,
                    manifest_blob.c.digest == repo_blob.c.digest,
                    _in_window(manifest_blob),
                )
            )
        ),
    )
    .order_by(repo_blob.c.repo_id, repo_blob.c.digest)
)
"""Links in a window that no manifest holds. Two indexes side by side."""

_may_go = or_(
    repo_blob.c.deleted_at.is_(None),
    repo_blob.c.deleted_at < CUTOFF,
    exists(select(1).where(repo.c.id == repo_blob.c.repo_id, repo.c.deleted_at < CUTOFF)),
)
_held = exists(
    select(1).where(
        manifest_blob.c.repo_id == repo_blob.c.repo_id, manifest_blob.c.digest == repo_blob.c.digest
    )
)
_holding_repo = repo.alias("holding_repo")
# All of a blob's links go, and this is the first of them, so that the blob is told of once.
_frees_blob = not_(
    exists(
        select(1)
        .select_from(_other)
        .join(_other_repo, _other_repo.c.id == _other.c.repo_id)
        .where(
            _other.c.digest == repo_blob.c.digest,
            or_(
                _other.c.repo_id < repo_blob.c.repo_id,
                and_(_other.c.repo_id > repo_blob.c.repo_id, not_(_unneeded(_other, _other_repo))),
            ),
        )
    )
)


def _links(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Links, as reports tell of them, whose blob's lease is over."""
    return (
        select(
            repo_blob.c.repo_id,
            repo_blob.c.digest,
            repo_blob.c.deleted_at,
            blob.c.size,
            blob.c.lease_until,
            _holding_repo.c.name,
            _holding_repo.c.project_id,
        )
        .select_from(repo_blob)
        .join(blob, blob.c.digest == repo_blob.c.digest)
        .join(_holding_repo, _holding_repo.c.id == repo_blob.c.repo_id)
        .where(blob.c.lease_until < STEADY, *conditions)
        .order_by(repo_blob.c.repo_id, repo_blob.c.digest)
    )


_one_of_links = one_of(cast(repo_blob.c.repo_id, Text) + "/" + repo_blob.c.digest, "p_links")
"""Of the links in a window to the blobs `p_digests`, exactly these."""
_dead_links = _links(_in_window(repo_blob), one_of(repo_blob.c.digest, "p_digests"), _one_of_links, _may_go)
DEAD_LINKS: Final = Prepared(_dead_links)
"""Of the unneeded links `p_links`, those that go."""
DEAD_LINKS_PLANNED: Final = Prepared(_dead_links.add_columns(_frees_blob))
"""The same, and whether the blob would go with them."""
FREED_LINKS: Final = Prepared(
    _links(
        tuple_(repo_blob.c.repo_id, repo_blob.c.digest) > tuple_(_AFTER_REPO, _AFTER),
        tuple_(repo_blob.c.repo_id, repo_blob.c.digest).in_(
            select(manifest_blob.c.repo_id, manifest_blob.c.digest).where(
                manifest_blob.c.manifest_id.in_(_buried_ids)
            )
        ),
        _unneeded(repo_blob, _holding_repo),
    )
    .add_columns(_frees_blob)
    .limit(LIMIT)
)
"""Links that only manifests hold which a run would delete first."""
LOCK_LINKS: Final = Prepared(
    select(repo_blob.c.repo_id, repo_blob.c.digest)
    .join(blob, blob.c.digest == repo_blob.c.digest)
    .where(
        _in_window(repo_blob),
        one_of(repo_blob.c.digest, "p_digests"),
        _one_of_links,
        blob.c.lease_until < STEADY,
        _may_go,
        not_(_held),
    )
    .order_by(repo_blob.c.digest, repo_blob.c.repo_id)
    .with_for_update(of=[repo_blob, blob], skip_locked=True)
)
"""Links that may go, with their blobs. A push that holds one is referring to it or renewing a lease."""
DELETE_LINKS: Final = Prepared(
    delete(repo_blob)
    .where(
        _in_window(repo_blob),
        one_of(repo_blob.c.digest, "p_digests"),
        _one_of_links,
        _may_go,
        not_(_held),
    )
    .returning(repo_blob.c.repo_id, repo_blob.c.digest, repo_blob.c.deleted_at)
)

LIVE_REPOSITORIES: Final = select(repo.c.id).where(
    repo.c.id.in_(bindparam("ids", expanding=True)), repo.c.deleted_at.is_(None)
)
"""What a deleted repository holds is in no project's usage."""

# Blobs that no repository links.

_blob_end = blob.alias("blob_end")
BLOB_WINDOW_END: Final = Prepared(
    select(_blob_end.c.digest)
    .where(_blob_end.c.digest > _AFTER)
    .order_by(_blob_end.c.digest)
    .offset(LIMIT)
    .limit(1)
)
UNLINKED_BLOBS: Final = Prepared(
    select(blob.c.digest)
    .where(
        blob.c.digest > _AFTER,
        blob.c.digest <= _UPTO,
        not_(
            exists(
                select(1).where(
                    repo_blob.c.digest == blob.c.digest,
                    repo_blob.c.digest > _AFTER,
                    repo_blob.c.digest <= _UPTO,
                )
            )
        ),
    )
    .order_by(blob.c.digest)
)
"""Blobs in a window that nothing links. Two indexes side by side."""

_linked = exists(select(1).where(repo_blob.c.digest == blob.c.digest))
_dead_blobs = (one_of(blob.c.digest, "p_digests"), blob.c.lease_until < STEADY)
DEAD_BLOBS: Final = Prepared(
    select(blob.c.digest, blob.c.size, blob.c.lease_until).where(*_dead_blobs).order_by(blob.c.digest)
)
"""Of the unlinked blobs `p_digests`, those whose lease is over."""
LOCK_BLOBS: Final = Prepared(
    select(blob.c.digest)
    .where(*_dead_blobs, not_(_linked))
    .order_by(blob.c.digest)
    .with_for_update(skip_locked=True)
)
"""Blobs that may go. From here on nobody can link one of them or renew its lease."""
MOVE_BLOBS: Final = Prepared(
    insert(trash).from_select(
        ["phys", "digest", "size", "reason", "trashed_at", "delete_after"],
        select(
            blob.c.phys,
            blob.c.digest,
            blob.c.size,
            literal("unreferenced"),
            STEADY,
            bindparam("p_delete_after", type_=BigInteger),
        ).where(*_dead_blobs, not_(_linked)),
    )
)
DELETE_BLOBS: Final = Prepared(delete(blob).where(*_dead_blobs, not_(_linked)).returning(blob.c.digest))

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
DELETE_REPOSITORIES: Final = (
    delete(repo)
    .where(
        repo.c.id.in_(bindparam("ids", expanding=True)),
        repo.c.deleted_at < CUTOFF,
        not_(exists(select(1).where(upload.c.repo_id == repo.c.id))),
    )
    .returning(repo.c.id)
)
DELETE_PROJECTS: Final = delete(project).where(
    project.c.deleted_at < CUTOFF, not_(exists(select(1).where(repo.c.project_id == project.c.id)))
)

# The trash.

TRASH_DUE: Final = (
    select(trash.c.phys, trash.c.size, trash.c.reason)
    .where(
        trash.c.delete_after <= bindparam("due", type_=BigInteger),
        or_(trash.c.leased_until.is_(None), trash.c.leased_until < STEADY),
    )
    .order_by(trash.c.delete_after)
    .limit(LIMIT)
    .with_for_update(skip_locked=True)
)
TRASH: Final = select(func.count(), func.coalesce(func.sum(trash.c.size), 0), func.min(trash.c.delete_after))
