"""Compares catalog and store both ways and says what is wrong, of what, and how it can be mended.

Looked at: the database file itself, the pair's identity, the bytes of every manifest and what they refer
to, the size of every live blob's file (with `deep` every byte of it), blobs out of service that manifests
need, objects that no row knows of, and the projects' counters. It can run beside a serving registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import Connection, func, select

from entrepot.errors import EntrepotError
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ManifestLimits, parse_manifest
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.tables import (
    blob,
    manifest,
    manifest_blob,
    manifest_child,
    manifest_missing,
    repo,
    upload,
)
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.store import BlobStore
from entrepot.server.upkeep.integrity.affected_tags import affected_tags, is_needed
from entrepot.server.upkeep.integrity.database_check import check_integrity
from entrepot.server.upkeep.integrity.faults import find_fault
from entrepot.server.upkeep.integrity.lost_blobs import Mend, find_lost, take_out_of_service
from entrepot.server.upkeep.integrity.orphans import Stray, Tally, find_strays, throw_away_strays
from entrepot.server.upkeep.integrity.reconcile import is_pair
from entrepot.server.upkeep.integrity.sure_store import ensure_it_stores, sure_store
from entrepot.server.upkeep.integrity.usage import recount, wrong_counters

__all__ = ["FsckReport", "FsckSettings", "IntegrityFinding", "fsck"]

PAGE: Final = 200
AT_ONCE: Final = 16
"""Blobs whose file is asked for at the same time."""
MOST_STRAYS: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FsckSettings:
    """How hard to look, and whether to mend."""

    undo_window_s: float = 7 * 24 * 3600
    """Objects without a row are findings only when they are older."""
    trash_delay_s: float = 3600
    """Mended orphans are unlinked after this."""
    deep: bool = False
    """Read every byte of every blob."""
    repair: bool = False
    mend: Mend | None = None
    """With `repair`: brings lost blobs back."""


@dataclass(frozen=True, slots=True)
class IntegrityFinding:
    """One thing that is wrong."""

    kind: str
    """blob-missing, blob-damaged, blob-out-of-service, manifest-damaged, manifest-references, orphan,
    usage, identity, database, store-unlisted.
    """
    subject: str
    detail: str
    repaired: str | None = None
    """What was done about it."""
    tags: tuple[str, ...] = ()
    """`repository:tag` of what can't be pulled because of it."""

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "kind": self.kind,
            "subject": self.subject,
            "detail": self.detail,
            "repaired": self.repaired,
            "tags": list(self.tags),
        }


@dataclass(slots=True)
class FsckReport:
    """What was looked at, and what is wrong."""

    blobs: int = 0
    manifests: int = 0
    objects: int = 0
    uploads: int = 0
    pending: int = 0
    """Objects without a row that are young: on their way to one, or left by a crash and removed later."""
    pending_bytes: int = 0
    findings: list[IntegrityFinding] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        """Nothing is wrong, or all of it was mended."""
        return all(finding.repaired for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """As `--json` prints it."""
        return {
            "ok": self.is_clean,
            "checked": {
                "blobs": self.blobs,
                "manifests": self.manifests,
                "objects": self.objects,
                "uploads": self.uploads,
            },
            "pending": {"objects": self.pending, "bytes": self.pending_bytes},
            "findings": [finding.to_json() for finding in self.findings],
        }


async def fsck(
    catalog: Catalog,
    store: BlobStore,
    settings: FsckSettings,
    *,
    on_finding: Callable[[IntegrityFinding], None] | None = None,
) -> FsckReport:
    """Look at everything once."""
    return await _Fsck(catalog, store, settings, on_finding or (lambda _: None)).run()


class _Fsck:
    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        settings: FsckSettings,
        on_finding: Callable[[IntegrityFinding], None],
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._on_finding = on_finding
        self._report = FsckReport()

    async def run(self) -> FsckReport:
        pair = await self._identity()
        if pair:  # should that change while this runs, nothing is believed to be missing
            self._store = sure_store(self._catalog, self._store)
        await self._database()
        # Objects first: a blob that is stored meanwhile then has its row when rows are looked at.
        await self._strays(pair=pair)
        await self._blobs(repair=self._settings.repair and pair)
        await self._manifests()
        await self._usage()
        self._report.uploads = await self._catalog.read(_count_uploads)
        return self._report

    def _found(
        self,
        kind: str,
        subject: str,
        detail: str,
        *,
        repaired: str | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        finding = IntegrityFinding(kind, subject, detail, repaired, tuple(tags))
        self._report.findings.append(finding)
        self._on_finding(finding)

    async def _identity(self) -> bool:
        pair = await is_pair(self._catalog, self._store)
        if not pair:
            self._found("identity", "store", "the store does not carry this catalog's id and epoch")
        return pair

    async def _database(self) -> None:
        for problem in await check_integrity(self._catalog, thorough=True):
            self._found("database", "catalog", problem)

    async def _strays(self, *, pair: bool) -> None:
        tally, old = Tally(), list[Stray]()
        try:
            async for stray in find_strays(self._catalog, self._store, tally):
                if stray.age_s <= self._settings.undo_window_s:
                    self._report.pending += 1
                    self._report.pending_bytes += stray.size
                elif len(old) < MOST_STRAYS:
                    old.append(stray)
        except StorageFailed as error:  # a bad sector in a folder; the blobs in it are asked for one by one
            await ensure_it_stores(self._store)
            unlisted = "objects that no row knows of were not all looked for"
            self._found("store-unlisted", "store", f"{error.message}; {unlisted}")
        self._report.objects = tally.objects
        repaired = None
        # Asked again: an endpoint that leads elsewhere by now has listed what is not ours.
        if old and self._settings.repair and pair and await is_pair(self._catalog, self._store):
            delay = microseconds(self._settings.trash_delay_s)
            for start in range(0, len(old), PAGE):
                page = old[start : start + PAGE]
                await throw_away_strays(self._catalog, page, reason="orphan", delay=delay)
            repaired = "moved to the trash"
        for stray in old:
            self._found("orphan", stray.phys, f"{stray.size} bytes that no row knows of", repaired=repaired)

    async def _blobs(self, *, repair: bool) -> None:
        """With `repair` what is missing is taken out of service: never for the word of another's store."""
        after = ""
        while page := await self._catalog.read(_blob_page, after):
            after = page[-1].digest
            self._report.blobs += len(page)
            for start in range(0, len(page), AT_ONCE):
                looks = [self._blob(row, repair=repair) for row in page[start : start + AT_ONCE]]
                outcomes = await asyncio.gather(*looks, return_exceptions=True)
                if failures := [one for one in outcomes if one is not None]:
                    raise failures[0]

    async def _blob(self, row: Any, *, repair: bool) -> None:
        mend = self._settings.mend if repair else None
        if row.state != "live":
            if await self._catalog.read(is_needed, row.digest):
                tags = await self._catalog.read(affected_tags, row.digest)
                lost = None if mend is None else await find_lost(self._catalog, row.digest)
                origin = await mend(lost) if mend is not None and lost is not None else None
                repaired = None if origin is None else f"brought back from {origin}"
                self._found("blob-out-of-service", row.digest, _OUT[row.state], repaired=repaired, tags=tags)
            return
        fault = await find_fault(
            self._store, row.digest, row.phys, row.size, deep=self._settings.deep, surely=repair
        )
        if fault is None or await self._catalog.read(_current_phys, row.digest) != row.phys:
            return
        reason, repaired = fault.reason, None
        if repair:
            damage = await take_out_of_service(self._catalog, row.digest, row.phys, fault, mend=mend)
            if damage is not None and damage.repaired_from is not None:
                repaired = f"brought back from {damage.repaired_from}"
            elif await self._catalog.read(is_needed, row.digest):
                reason += "; out of service until an image that has it is pushed again"
            else:
                repaired = "taken out of service; no image needs it"
        tags = await self._catalog.read(affected_tags, row.digest)
        kind = "blob-missing" if fault.state == "missing" else "blob-damaged"
        self._found(kind, row.digest, f"{row.phys}: {reason}", repaired=repaired, tags=tags)

    async def _manifests(self) -> None:
        after = 0
        while page := await self._catalog.read(_manifest_page, after):
            after = page[-1].id
            self._report.manifests += len(page)
            recorded = await self._catalog.read(_recorded, [row.id for row in page])
            for row in page:
                problem = await asyncio.to_thread(manifest_problem, row, recorded.get(row.id, set()))
                # A row that is gone by now was not wrong.
                if problem is not None and await self._catalog.read(_manifest_exists, row.id):
                    self._found(problem[0], f"{row.name}@{row.digest}", problem[1])

    async def _usage(self) -> None:
        for name, says, used in await self._catalog.read(wrong_counters):
            repaired = None
            if self._settings.repair:
                await self._catalog.write(recount)
                repaired = "counted anew"
            self._found("usage", name, f"the counter says {says} bytes, {used} are used", repaired=repaired)


_ANY_LIMITS: Final = ManifestLimits(
    max_bytes=1 << 30,
    max_depth=128,
    max_elements=1 << 30,
    max_layers=1 << 30,
    max_index_width=1 << 30,
    max_annotation_bytes=1 << 30,
)
"""What was accepted under other settings is not wrong today."""
_OUT = {
    "missing": "its bytes are lost; push an image that has it",
    "quarantined": "its bytes are damaged; push an image that has it",
}


def manifest_problem(row: Any, recorded: set[str]) -> tuple[str, str] | None:
    """Kind and detail of what is wrong with a stored manifest; None when it is right. Pure."""
    digest = Digest.parse(row.digest)
    if Digest.of(row.body, digest.algorithm) != digest:
        return "manifest-damaged", "its bytes do not have its digest"
    try:
        parsed = parse_manifest(row.body, row.media_type, limits=_ANY_LIMITS)
    except EntrepotError as error:
        return "manifest-damaged", f"it can't be read: {error.message}"
    lacking = sorted({str(one.digest) for some in parsed.references() for one in some} - recorded)
    if lacking:
        return "manifest-references", f"it refers to {', '.join(lacking[:3])}, which its row does not hold"
    return None


# Reads


def _blob_page(connection: Connection, after: str) -> Sequence[Any]:
    return connection.execute(
        select(blob.c.digest, blob.c.phys, blob.c.size, blob.c.state)
        .where(blob.c.digest > after)
        .order_by(blob.c.digest)
        .limit(PAGE)
    ).all()


def _current_phys(connection: Connection, digest: str) -> str | None:
    phys: str | None = connection.execute(
        select(blob.c.phys).where(blob.c.digest == digest, blob.c.state == "live")
    ).scalar_one_or_none()
    return phys


def _manifest_page(connection: Connection, after: int) -> Sequence[Any]:
    return connection.execute(
        select(manifest.c.id, manifest.c.digest, manifest.c.media_type, manifest.c.body, repo.c.name)
        .join(repo, repo.c.id == manifest.c.repo_id)
        .where(manifest.c.id > after)
        .order_by(manifest.c.id)
        .limit(PAGE)
    ).all()


def _manifest_exists(connection: Connection, row_id: int) -> bool:
    return connection.execute(select(manifest.c.id).where(manifest.c.id == row_id)).first() is not None


def _recorded(connection: Connection, ids: Sequence[int]) -> dict[int, set[str]]:
    """Digests that the rows say each manifest refers to, there or not."""
    found: dict[int, set[str]] = {}
    for table in (manifest_blob, manifest_child, manifest_missing):
        rows = connection.execute(
            select(table.c.manifest_id, table.c.digest).where(table.c.manifest_id.in_(ids))
        )
        for row in rows:
            found.setdefault(row.manifest_id, set()).add(row.digest)
    return found


def _count_uploads(connection: Connection) -> int:
    return int(connection.execute(select(func.count()).select_from(upload)).scalar_one())
