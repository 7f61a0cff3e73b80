"""The transactions of uploads. Every one that changes a row names the claim it was made under.

An upload that nobody has written to has no row; its first writer begins it (`upload_begun`), which only one
can.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite understands the same words

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, Permit
from entrepot.server.db.statements import Prepared
from entrepot.server.db.tables import repo, upload, upload_begun
from entrepot.server.repos.errors import TooManyUploads, UploadBusy, UploadUnknown
from entrepot.server.repos.links import StoredBytes, adopt_blob, find_blob, link_blob, renew_lease
from entrepot.server.repos.rows import ensure_repository, find_repository, insert_row
from entrepot.server.repos.uploads.ids import first_id_of

__all__ = [
    "Claimed",
    "CopyGone",
    "Finish",
    "NewUpload",
    "Progress",
    "UploadRow",
    "Wish",
    "claim_upload",
    "drop_upload",
    "find_upload",
    "finish_upload",
    "forget_begun",
    "keep_claim",
    "make_repository",
    "move_upload",
    "record_progress",
]

_INSERT = Prepared(
    insert(upload).values(
        id=bindparam("p_id"),
        repo_id=bindparam("p_repo"),
        phys=bindparam("p_phys"),
        offset=0,
        algorithm=bindparam("p_algorithm"),
        boot_id=bindparam("p_boot"),
        principal=bindparam("p_principal"),
        started_at=bindparam("p_at"),
        expires_at=bindparam("p_expires"),
        claim=bindparam("p_claim"),
        claimed_until=bindparam("p_until"),
    )
)
_BEGIN = Prepared(upsert(upload_begun).values(id=bindparam("p_id")).on_conflict_do_nothing())
_FORGET = Prepared(
    delete(upload_begun).where(
        upload_begun.c.id.in_(
            select(upload_begun.c.id)
            .where(upload_begun.c.id < bindparam("p_before"))
            .order_by(upload_begun.c.id)
            .limit(bindparam("p_most"))
        )
    )
)
_ROW = (
    select(
        upload.c.id,
        upload.c.phys,
        upload.c.offset,
        upload.c.algorithm,
        upload.c.digest_so_far,
        upload.c.boot_id,
        upload.c.claim,
        upload.c.claimed_until,
        upload.c.expires_at,
        upload.c.principal,
    )
    .join(repo, repo.c.id == upload.c.repo_id)
    .where(
        upload.c.id == bindparam("p_id"),
        repo.c.name == bindparam("p_repository"),
        repo.c.deleted_at.is_(None),
    )
)
_LOCK = Prepared(_ROW.with_for_update(of=upload))
_FIND = Prepared(_ROW)
_CLAIM = Prepared(
    update(upload)
    .where(upload.c.id == bindparam("p_id"))
    .values(claim=bindparam("p_claim"), claimed_until=bindparam("p_until"), version=upload.c.version + 1)
)
_CLAIMED_NOW = Prepared(
    select(func.count()).where(
        upload.c.principal == bindparam("p_principal"), upload.c.claimed_until > bindparam("p_now")
    )
)
_MINE = (upload.c.id == bindparam("p_id")) & (upload.c.claim == bindparam("p_claim"))
_KEEP = Prepared(update(upload).where(_MINE).values(claimed_until=bindparam("p_until")))
_MOVE = Prepared(update(upload).where(_MINE).values(phys=bindparam("p_phys"), offset=bindparam("p_offset")))
_RECORD = Prepared(
    update(upload)
    .where(_MINE)
    .values(
        offset=bindparam("p_offset"),
        reserved=0,
        digest_so_far=bindparam("p_digest"),
        boot_id=bindparam("p_boot"),
        expires_at=bindparam("p_expires"),
        claim=None,
        claimed_until=None,
    )
)
_END = Prepared(delete(upload).where(_MINE))
_DROP = Prepared(delete(upload).where(upload.c.id == bindparam("p_id")).returning(upload.c.phys))


class CopyGone(Exception):
    """The copy that was to be shared has gone since it was seen."""


@dataclass(frozen=True, slots=True)
class NewUpload:
    """The row that an upload gets when somebody writes to it."""

    phys: str
    algorithm: str
    boot: str
    principal: str
    started_at: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class UploadRow:
    """An upload as its row has it."""

    id: str
    phys: str
    offset: int
    algorithm: str
    digest_so_far: str | None
    boot_id: str
    claim: str | None
    claimed_until: int | None
    expires_at: int
    principal: str


@dataclass(frozen=True, slots=True)
class Claimed:
    """An upload that is this request's alone."""

    row: UploadRow
    claim: str
    left_by_the_living: bool
    """An earlier claim ran out while its process may still be writing: its file must not be written to."""


@dataclass(frozen=True, slots=True)
class Wish:
    """A request that wants to own an upload."""

    repository: str
    upload: str
    claim: str
    dead: str | None
    """A claim whose process is known to be gone."""
    most: int | None
    """How many uploads the upload's principal may write to at once."""
    now: int
    until: int
    new: NewUpload | None = None
    """The row to make when there is none; None: there must be one."""


@dataclass(frozen=True, slots=True)
class Progress:
    """What a request leaves behind when it gives its claim back."""

    upload: str
    claim: str
    offset: int
    digest_so_far: str | None
    boot: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an upload: what is stored, and where it belongs."""

    repository: str
    stored: StoredBytes
    upload: str | None
    """None: the bytes came in one request, without an upload row."""
    claim: str | None
    """None: nobody has written to the upload."""
    distrusted: str | None
    actor: Actor
    permit: Permit
    now: int
    steady: int
    lease_until: int
    trash_delay: int


def make_repository(connection: Connection, name: str, actor: Actor, permit: Permit, now: int) -> None:
    """Make the repository of an upload if it is not there and the permit lets the actor."""
    ensure_repository(connection, name, actor=actor, permit=permit, at=now)
    permit(connection, Change("push", name))


def find_upload(connection: Connection, repository: str, upload_id: str) -> UploadRow | None:
    """The row of an upload, as it is now."""
    found = _FIND.row(connection, {"p_id": upload_id, "p_repository": repository})
    return None if found is None else UploadRow(*found)


def claim_upload(connection: Connection, wish: Wish) -> Claimed | UploadRow:
    """Take the upload for one request; only then may its offset be believed. Another's row when it is taken.

    Raises UploadUnknown, TooManyUploads.
    """
    found = _LOCK.row(connection, {"p_id": wish.upload, "p_repository": wish.repository})
    if found is None and wish.new is not None:
        return _claim_new(connection, wish, wish.new)
    row = None if found is None else UploadRow(*found)
    if row is None or row.expires_at <= wish.now:
        raise UploadUnknown(wish.upload)
    left = False
    if row.claim is not None and row.claim != wish.dead:
        if row.claimed_until is not None and row.claimed_until > wish.now:
            return row
        left = True
    _check_number(connection, wish, row.principal)
    _CLAIM.run(connection, {"p_id": wish.upload, "p_claim": wish.claim, "p_until": wish.until})
    return Claimed(row, wish.claim, left)


def _claim_new(connection: Connection, wish: Wish, new: NewUpload) -> Claimed:
    repository = find_repository(connection, wish.repository)
    if repository is None:
        raise UploadUnknown(wish.upload)
    _check_number(connection, wish, new.principal)
    _begin(connection, wish.repository, wish.upload)
    insert_row(
        connection,
        _INSERT,
        {
            "p_id": wish.upload,
            "p_repo": repository.id,
            "p_phys": new.phys,
            "p_algorithm": new.algorithm,
            "p_boot": new.boot,
            "p_principal": new.principal,
            "p_at": new.started_at,
            "p_expires": new.expires_at,
            "p_claim": wish.claim,
            "p_until": wish.until,
        },
    )
    row = UploadRow(
        id=wish.upload,
        phys=new.phys,
        offset=0,
        algorithm=new.algorithm,
        digest_so_far=None,
        boot_id=new.boot,
        claim=None,
        claimed_until=None,
        expires_at=new.expires_at,
        principal=new.principal,
    )
    return Claimed(row, wish.claim, left_by_the_living=False)


def _check_number(connection: Connection, wish: Wish, principal: str) -> None:
    if wish.most is not None:
        key = {"p_principal": principal, "p_now": wish.now}
        if _CLAIMED_NOW.value(connection, key) >= wish.most:
            raise TooManyUploads(wish.most)


def _begin(connection: Connection, repository: str, upload_id: str) -> None:
    """From now on the upload is not fresh. Raises UploadUnknown, or UploadBusy when it has a row by now."""
    if not _BEGIN.run(connection, {"p_id": upload_id}):
        row = find_upload(connection, repository, upload_id)
        raise UploadUnknown(upload_id) if row is None else UploadBusy(upload_id, row.offset)


def forget_begun(connection: Connection, before: int, most: int) -> int:
    """Forget up to `most` uploads that were named before a steady time, when their names are no use any more.
    Returns how many.
    """
    return _FORGET.run(connection, {"p_before": first_id_of(before), "p_most": most})


def keep_claim(connection: Connection, upload_id: str, claim: str, until: int) -> bool:
    """Hold a claim for longer; False when it is another's now."""
    return _KEEP.run(connection, {"p_id": upload_id, "p_claim": claim, "p_until": until}) == 1


def move_upload(connection: Connection, upload_id: str, claim: str, phys: str, offset: int) -> None:
    """The upload's bytes are under another name from now on. Raises UploadUnknown when the claim is lost."""
    row = {"p_id": upload_id, "p_claim": claim, "p_phys": phys, "p_offset": offset}
    if _MOVE.run(connection, row) == 0:
        raise UploadUnknown(upload_id)


def record_progress(connection: Connection, progress: Progress) -> None:
    """Note what has been received and give the claim back. Raises UploadUnknown when the claim is lost."""
    row = {
        "p_id": progress.upload,
        "p_claim": progress.claim,
        "p_offset": progress.offset,
        "p_digest": progress.digest_so_far,
        "p_boot": progress.boot,
        "p_expires": progress.expires_at,
    }
    if _RECORD.run(connection, row) == 0:
        raise UploadUnknown(progress.upload)


def drop_upload(
    connection: Connection, repository: str, upload_id: str, *, fresh: bool = False
) -> str | None:
    """Forget an upload, whoever writes to it. Returns the physical name to remove, empty for a `fresh` upload
    that has none, None if there is no upload.
    """
    if find_upload(connection, repository, upload_id) is not None:
        phys: str | None = _DROP.value(connection, {"p_id": upload_id})
        return phys
    if not fresh:
        return None
    try:
        _begin(connection, repository, upload_id)
    except UploadUnknown:
        return None
    return ""


def finish_upload(connection: Connection, end: Finish) -> str:
    """The stored bytes become a blob of the repository; the upload is gone.

    Returns the live physical name. With an empty `stored.phys` nothing
    new was stored because a good copy was there; raises CopyGone when it has gone meanwhile.
    """
    row = ensure_repository(connection, end.repository, actor=end.actor, permit=end.permit, at=end.now)
    end.permit(connection, Change("push", end.repository, new=end.stored.digest))
    if end.upload is not None:
        _end_upload(connection, end.repository, end.upload, end.claim)
    if end.stored.phys:
        phys = adopt_blob(
            connection,
            end.stored,
            distrusted=end.distrusted,
            lease_until=end.lease_until,
            now=end.steady,
            trash_delay=end.trash_delay,
        )
    else:
        there = find_blob(connection, end.stored.digest)
        if there is None or there.state != "live" or there.size != end.stored.size:
            raise CopyGone
        renew_lease(connection, end.stored.digest, end.lease_until)
        phys = there.phys
    link_blob(connection, row, end.stored.digest, end.stored.size, at=end.now, steady=end.steady)
    return phys


def _end_upload(connection: Connection, repository: str, upload_id: str, claim: str | None) -> None:
    """The row goes. Raises UploadUnknown, or UploadBusy when another request got hold of it."""
    if claim is not None:
        if _END.run(connection, {"p_id": upload_id, "p_claim": claim}) == 0:
            raise UploadUnknown(upload_id)
    else:
        _begin(connection, repository, upload_id)
