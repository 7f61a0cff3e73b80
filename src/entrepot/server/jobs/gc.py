"""Online garbage collection: finds what nothing refers to, and removes it while pushes go on.

Nothing is locked and nothing is stopped. In this order, each step in small transactions:

1. *manifests* that were deleted, once their undo window is over (an index before what is in it)
2. *untagged manifests*, only when asked: they are deleted, so they stay for the undo window too
3. *links* of repositories to blobs that no manifest there needs
4. *blobs* that no repository links: the row goes and the physical name into the trash in one transaction
5. *uploads* that nobody has written to for long
6. *repositories* that were deleted, once they are empty

A blob stays while its lease runs, so one that was just pushed or asked for by a pusher waits for its
manifest. A candidate that came into use again stays: each DELETE asks again, and a foreign key that
refuses means "in use". No manifest is parsed here; one that is damaged or odd keeps all that was recorded
for it when it was pushed. What is in the trash is unlinked later, see `sweep`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, RowMapping, Select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningDelete

from entrepot.observability.logs import get_log
from entrepot.server.db.clock import SECOND, microseconds
from entrepot.server.db.engine import Catalog
from entrepot.server.jobs import gcqueries as queries
from entrepot.server.jobs.removal import GcReport, Removal
from entrepot.server.repos.changes import SYSTEM, allow_all
from entrepot.server.repos.errors import ManifestUnknown
from entrepot.server.repos.links import throw_away
from entrepot.server.repos.manifestdelete import delete_manifest
from entrepot.server.repos.records import add_usage

__all__ = ["GcSettings", "collect"]

log = get_log(__name__)

PAGE: Final = 200
"""Rows a transaction handles: what a push may have to wait for."""
PAUSE_S: Final = 0.002
"""Between two pages, so that pushes come in between."""
MAX_PASSES: Final = 16
"""Over the untagged manifests: an index that goes lets go of its children."""
_HIGHEST: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class GcSettings:
    """How long things are kept; all in seconds."""

    undo_window_s: float = 7 * 24 * 3600
    """A deleted manifest or link can be brought back for so long."""
    trash_delay_s: float = 3600
    """Bytes stay on disk for so long after their row is gone."""
    untagged: bool = False
    """Also collect manifests without a tag."""
    untagged_after_s: float = 7 * 24 * 3600
    """Only those that have had none for so long."""


async def collect(
    catalog: Catalog,
    settings: GcSettings,
    *,
    dry_run: bool = False,
    on_removal: Callable[[Removal], None] | None = None,
) -> GcReport:
    """Collect once. With `dry_run` nothing is changed and every removal is told with its reason."""
    run = _Run(catalog, settings, dry_run=dry_run, on_removal=on_removal)
    await run.manifests()
    if settings.untagged:
        await run.untagged()
    await run.links()
    await run.blobs()
    await run.uploads()
    await run.repositories()
    log.info("gc done", **run.report.to_json())
    return run.report


class _Run:
    def __init__(
        self,
        catalog: Catalog,
        settings: GcSettings,
        *,
        dry_run: bool,
        on_removal: Callable[[Removal], None] | None,
    ) -> None:
        self._catalog = catalog
        self._settings = settings
        self._dry_run = dry_run
        self._on_removal = on_removal or (lambda _: None)
        self._steady = catalog.clock.steady()
        self._cutoff = self._steady - microseconds(settings.undo_window_s)
        self.report = GcReport(dry_run)

    async def manifests(self) -> None:
        if not self._dry_run:
            await self._catalog.write(_delete_tags, self._cutoff)
        start = {"after_depth": _HIGHEST, "after_id": 0}
        async for page in self._pages(
            queries.BURIED_MANIFESTS, start, lambda row: {"after_depth": row["depth"], "after_id": row["id"]}
        ):
            gone = await self._apply(_delete_manifests, page, self._cutoff)
            for row in page:
                reason = f"deleted {self._ago(row['deleted_at'])}, the undo window is over"
                self._count(
                    gone,
                    row["id"],
                    Removal("manifest", row["digest"], reason, row["size"], row["repository"]),
                )

    async def untagged(self) -> None:
        older = self._steady - microseconds(self._settings.untagged_after_s)
        for _ in range(1 if self._dry_run else MAX_PASSES):
            found = 0
            async for page in self._pages(
                queries.UNTAGGED_MANIFESTS,
                {"after_id": 0, "older": older},
                lambda row: {"after_id": row["id"]},
            ):
                rows = [(row["id"], row["repository"], row["digest"]) for row in page]
                gone = await self._apply(
                    _bury_untagged, rows, older, self._catalog.clock.now(), self._catalog.clock.steady()
                )
                for row in page:
                    pushed = self._ago(row["pushed_at"])
                    reason = f"pushed {pushed}; no tag, no index and no tagged referrer needs it"
                    removal = Removal(
                        "untagged-manifest", row["digest"], reason, row["size"], row["repository"]
                    )
                    found += self._count(gone, row["id"], removal)
            if not found:
                return

    async def links(self) -> None:
        start = {"after_repo": 0, "after_digest": ""}
        async for page in self._pages(
            queries.LINKS, start, lambda row: {"after_repo": row["repo_id"], "after_digest": row["digest"]}
        ):
            gone = await self._apply(_delete_links, page, self._steady, self._cutoff)
            for row in page:
                ended = self._ago(row["lease_until"])
                reason = f"no manifest of this repository needs it; its lease ended {ended}"
                if row["deleted_at"] is not None:
                    reason = f"deleted {self._ago(row['deleted_at'])}, the undo window is over"
                removal = Removal("link", row["digest"], reason, row["size"], row["repository"])
                self._count(gone, (row["repo_id"], row["digest"]), removal)

    async def blobs(self) -> None:
        delay = microseconds(self._settings.trash_delay_s)
        async for page in self._pages(
            queries.BLOBS, {"after_digest": ""}, lambda row: {"after_digest": row["digest"]}
        ):
            gone = await self._apply(_delete_blobs, [row["digest"] for row in page], self._steady, delay)
            for row in page:
                reason = f"no repository links it; its lease ended {self._ago(row['lease_until'])}"
                self._count(gone, row["digest"], Removal("blob", row["digest"], reason, row["size"]))

    async def uploads(self) -> None:
        async for page in self._pages(queries.UPLOADS, {"after_id": ""}, lambda row: {"after_id": row["id"]}):
            gone = await self._apply(_delete_uploads, [row["id"] for row in page], self._steady)
            for row in page:
                reason = f"nobody has written to it; it expired {self._ago(row['expires_at'])}"
                self._count(
                    gone, row["id"], Removal("upload", row["id"], reason, row["offset"], row["repository"])
                )

    async def repositories(self) -> None:
        async for page in self._pages(
            queries.BURIED_REPOSITORIES, {"after_id": 0}, lambda row: {"after_id": row["id"]}
        ):
            gone = await self._apply(_delete_repositories, [row["id"] for row in page], self._cutoff)
            for row in page:
                reason = f"deleted {self._ago(row['deleted_at'])}, the undo window is over"
                self._count(gone, row["id"], Removal("repository", row["name"], reason))
        if not self._dry_run:
            await self._catalog.write(_delete_projects, self._cutoff)

    async def _pages(
        self, statement: Select[Any], start: dict[str, Any], after: Callable[[RowMapping], dict[str, Any]]
    ) -> AsyncIterator[Sequence[RowMapping]]:
        names = {"steady": self._steady, "cutoff": self._cutoff, "limit": PAGE, **start}
        while True:
            wanted = statement.compile().params.keys() & names.keys()
            page = await self._catalog.read(_page, statement, {name: names[name] for name in wanted})
            if not page:
                return
            yield page
            names |= after(page[-1])
            await asyncio.sleep(PAUSE_S)

    async def _apply(self, remove: Callable[..., set[Any]], *args: Any) -> set[Any] | None:
        """What was removed; None in a dry run, which removes nothing and counts all."""
        return None if self._dry_run else await self._catalog.write(remove, *args)

    def _count(self, gone: set[Any] | None, key: Any, removal: Removal) -> bool:
        if gone is not None and key not in gone:
            self.report.in_use += 1
            return False
        self.report.add(removal)
        self._on_removal(removal)
        return True

    def _ago(self, moment: int) -> str:
        return f"{age(self._steady - moment)} ago"


def age(elapsed: int) -> str:
    """Microseconds in words: the largest fitting unit."""
    seconds = max(0, elapsed) // SECOND
    for size, unit in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= size:
            count = seconds // size
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


# Transactions


def _page(connection: Connection, statement: Select[Any], values: dict[str, Any]) -> Sequence[RowMapping]:
    return connection.execute(statement, values).mappings().all()


def _delete_tags(connection: Connection, cutoff: int) -> None:
    connection.execute(queries.DELETE_TAGS_OF_BURIED_REPOSITORIES, {"cutoff": cutoff})


def _delete_manifests(connection: Connection, page: Sequence[RowMapping], cutoff: int) -> set[int]:
    gone: set[int] = set()
    for depth in sorted({row["depth"] for row in page}, reverse=True):
        # An index takes its references along; only then do its children have none.
        ids = [row["id"] for row in page if row["depth"] == depth]
        rows = _each(connection, queries.DELETE_BURIED_MANIFESTS, "ids", ids, {"cutoff": cutoff})
        gone.update(row["id"] for row in rows)
    return gone


def _bury_untagged(
    connection: Connection, rows: Sequence[tuple[int, str, str]], older: int, now: int, steady: int
) -> set[int]:
    gone = set()
    for row_id, repository, digest in rows:
        values = {"one": row_id, "after_id": 0, "older": older, "limit": 1}
        if connection.execute(queries.STILL_UNTAGGED, values).first() is None:
            continue
        try:
            delete_manifest(connection, repository, digest, SYSTEM, allow_all, now, steady)
        except ManifestUnknown:
            continue
        gone.add(row_id)
    return gone


def _delete_links(
    connection: Connection, page: Sequence[RowMapping], steady: int, cutoff: int
) -> set[tuple[int, str]]:
    gone: set[tuple[int, str]] = set()
    usage: dict[int, int] = {}
    for repo_id in sorted({row["repo_id"] for row in page}):
        rows = {row["digest"]: row for row in page if row["repo_id"] == repo_id}
        counted = connection.execute(queries.IS_LIVE_REPOSITORY, {"one": repo_id}).first() is not None
        # A push that holds one of these rows is renewing its lease: leave that blob alone.
        free = _locked(connection, list(rows), steady)
        values = {"repo_id": repo_id, "cutoff": cutoff}
        for removed in _each(connection, queries.DELETE_LINKS, "digests", free, values):
            row = rows[removed["digest"]]
            gone.add((repo_id, row["digest"]))
            if counted and removed["deleted_at"] is None:
                usage[row["project_id"]] = usage.get(row["project_id"], 0) - row["size"]
    for project_id in sorted(usage):
        add_usage(connection, project_id, usage[project_id])
    return gone


def _delete_blobs(connection: Connection, digests: Sequence[str], steady: int, trash_delay: int) -> set[str]:
    free = _locked(connection, digests, steady)
    rows = _each(connection, queries.DELETE_BLOBS, "digests", free, {"steady": steady})
    for row in rows:
        throw_away(
            connection,
            row["phys"],
            reason="unreferenced",
            now=steady,
            after=steady + trash_delay,
            digest=row["digest"],
            size=row["size"],
        )
    return {row["digest"] for row in rows}


def _delete_uploads(connection: Connection, ids: Sequence[str], steady: int) -> set[str]:
    rows = _each(connection, queries.DELETE_UPLOADS, "ids", ids, {"steady": steady})
    for row in rows:
        throw_away(
            connection, row["phys"], reason="upload-expired", now=steady, after=steady, size=row["offset"]
        )
    return {row["id"] for row in rows}


def _delete_repositories(connection: Connection, ids: Sequence[int], cutoff: int) -> set[int]:
    gone = set()
    for row_id in ids:
        try:
            with connection.begin_nested():
                done = connection.execute(queries.DELETE_REPOSITORY, {"one": row_id, "cutoff": cutoff})
        except IntegrityError:
            continue  # something in it is kept still
        if done.rowcount:
            gone.add(row_id)
    return gone


def _delete_projects(connection: Connection, cutoff: int) -> None:
    try:
        with connection.begin_nested():
            connection.execute(queries.DELETE_PROJECTS, {"cutoff": cutoff})
    except IntegrityError as error:
        log.debug("project in use", reason=str(error.orig))


def _locked(connection: Connection, digests: Sequence[str], steady: int) -> list[str]:
    values = {"digests": sorted(digests), "steady": steady}
    return list(connection.execute(queries.LOCK_BLOBS, values).scalars())


def _each(
    connection: Connection,
    statement: ReturningDelete[Any],
    name: str,
    keys: Sequence[Any],
    values: dict[str, Any],
) -> list[RowMapping]:
    """Delete `keys` at once, or one by one when a foreign key says that one of them is in use."""
    if not keys:
        return []
    try:
        with connection.begin_nested():
            return list(connection.execute(statement, {name: list(keys), **values}).mappings())
    except IntegrityError:
        if len(keys) == 1:
            return []
    return [row for key in keys for row in _each(connection, statement, name, [key], values)]
