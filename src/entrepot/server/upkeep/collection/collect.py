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
One long file: each step looks and deletes under conditions that have to be the same ones.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from sqlalchemy import Connection, RowMapping, Select
from sqlalchemy.sql.dml import ReturningDelete

from entrepot.observability.logs import get_log
from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.access.decision.change import allow_all
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.errors import RetryTransaction
from entrepot.server.db.statements import INTEGRITY_ERRORS
from entrepot.server.repos.errors import ManifestUnknown
from entrepot.server.repos.links import throw_away
from entrepot.server.repos.manifestdelete import delete_manifest
from entrepot.server.repos.records import add_usage
from entrepot.server.upkeep.collection import queries as queries
from entrepot.server.upkeep.collection.pace import Pace
from entrepot.server.upkeep.collection.report import GcReport, Reason, Removal, Waiting

__all__ = ["GcSettings", "collect"]

log = get_log(__name__)

T = TypeVar("T")

PAGE: Final = 5_000
"""Rows of a list of what was deleted; and at most so many keys go into a statement."""
LOOKED_S: Final = 0.02
"""What looking through a window should take: so little that requests meanwhile see a fraction of a core gone,
never a whole one.
"""
WRITTEN_S: Final = 0.025
"""What a transaction that removes should take: so long a push may have to wait for it, on SQLite."""
LEAST_WRITTEN: Final = 200
"""Rows of such a transaction at least, so that a busy machine is not kept busy by many small ones."""
IDLE: Final = 2.0
"""Rest after each step, as a part of what it took."""
MAX_PASSES: Final = 16
"""Over the untagged manifests: an index that goes lets go of its children."""
_HIGHEST: Final = 1 << 30
_END: Final = 1 << 62
"""A time after all others."""


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
    """Collect once. With `dry_run` nothing is changed and every removal is told with its reason; the report
    says what waits, too.
    """
    run = _Run(catalog, settings, dry_run=dry_run, on_removal=on_removal)
    await run.manifests()
    if settings.untagged:
        await run.untagged()
    await run.links()
    await run.blobs()
    await run.uploads()
    await run.repositories()
    if dry_run:
        run.report.waiting = await _waiting(catalog, settings, run.report)
        run.report.trash = await catalog.read(_in_trash, catalog.clock.now() - catalog.clock.steady())
    log.info("gc done", **run.report.to_json())
    return run.report


async def _waiting(catalog: Catalog, settings: GcSettings, now: GcReport) -> Waiting:
    """What a run at the end of all times would take more than one now: it is kept by a time only.

    Uploads under way are left out: they will be blobs.
    """
    first: int | None = None
    steady = catalog.clock.steady()

    def look(removal: Removal) -> None:
        nonlocal first
        due = _END - removal.elapsed
        if removal.why is Reason.UNDO_OVER:
            due += microseconds(settings.undo_window_s)
        if due >= steady and (first is None or due < first):
            first = due

    ahead = _Run(catalog, settings, dry_run=True, on_removal=look, steady=_END)
    await ahead.manifests()
    await ahead.links()
    await ahead.blobs()
    await ahead.repositories()
    more = {kind: number - now.removed.get(kind, 0) for kind, number in ahead.report.removed.items()}
    return Waiting(
        {kind: number for kind, number in more.items() if number > 0},
        max(0, ahead.report.size_of(Reason.UNLINKED) - now.size_of(Reason.UNLINKED)),
        None if first is None else first + catalog.clock.now() - steady,
    )


def _in_trash(connection: Connection, to_wall_clock: int) -> Waiting:
    files, size, first = connection.execute(queries.TRASH).one()
    return Waiting(
        {"file": files} if files else {}, int(size), None if first is None else first + to_wall_clock
    )


class _Link(NamedTuple):
    repo_id: int
    digest: str
    deleted_at: int | None
    size: int
    lease_until: int
    repository: str
    project_id: int
    frees_blob: bool = False


class _Blob(NamedTuple):
    digest: str
    size: int
    lease_until: int


class _Window(NamedTuple):
    """Neighbours in an index, and which of them go."""

    end: Any
    """Where the next window begins; None after the last."""
    dead: Sequence[Any]


class _Run:
    def __init__(
        self,
        catalog: Catalog,
        settings: GcSettings,
        *,
        dry_run: bool,
        on_removal: Callable[[Removal], None] | None,
        steady: int | None = None,
    ) -> None:
        """`steady` is the time of the run, when that is another than now."""
        self._catalog = catalog
        self._settings = settings
        self._dry_run = dry_run
        self._on_removal = on_removal
        self._steady = catalog.clock.steady() if steady is None else steady
        self._cutoff = self._steady - microseconds(settings.undo_window_s)
        # Somebody waits for the answer of a dry run, and nobody for what it reads.
        idle, least = (0.0, 100_000) if dry_run else (IDLE, 5_000)
        self._looking = Pace(first=least, least=least, most=200_000, target_s=LOOKED_S, idle=idle)
        self._writing = Pace(
            first=LEAST_WRITTEN, least=LEAST_WRITTEN, most=PAGE, target_s=WRITTEN_S, idle=idle
        )
        self.report = GcReport(dry_run)

    async def manifests(self) -> None:
        tags = 0 if self._dry_run else 1
        while tags:
            tags = await self._write(_delete_tags, self._cutoff, self._writing.rows)
        start = {"after_depth": _HIGHEST, "after_id": 0}
        async for page in self._pages(
            queries.BURIED_MANIFESTS, start, lambda row: {"after_depth": row["depth"], "after_id": row["id"]}
        ):
            async for rows, gone in self._applied(page, _delete_manifests, self._cutoff):
                for row in rows:
                    elapsed = self._steady - row["deleted_at"]
                    removal = Removal(
                        "manifest",
                        row["digest"],
                        Reason.UNDO_OVER,
                        elapsed,
                        row["size"],
                        row["repository"],
                    )
                    self._count(gone, row["id"], removal)

    async def untagged(self) -> None:
        older = self._steady - microseconds(self._settings.untagged_after_s)
        for _ in range(1 if self._dry_run else MAX_PASSES):
            found = 0
            async for page in self._pages(
                queries.UNTAGGED_MANIFESTS,
                {"after_id": 0, "older": older},
                lambda row: {"after_id": row["id"]},
            ):
                now, steady = self._catalog.clock.now(), self._catalog.clock.steady()
                async for rows, gone in self._applied(page, _bury_untagged, older, now, steady):
                    for row in rows:
                        elapsed = self._steady - row["pushed_at"]
                        removal = Removal(
                            "untagged-manifest",
                            row["digest"],
                            Reason.UNTAGGED,
                            elapsed,
                            row["size"],
                            row["repository"],
                        )
                        found += self._count(gone, row["id"], removal)
            if not found:
                return

    async def links(self) -> None:
        async for links in self._windows(queries.BEFORE_ALL, _dead_links, self._cutoff, self._dry_run):
            async for rows, gone in self._applied(links, _delete_links, self._steady, self._cutoff):
                self._count_links(rows, gone)
        if self._dry_run:
            await self._freed_links()

    async def _freed_links(self) -> None:
        """The links that a run would find after it had deleted manifests."""
        after = queries.BEFORE_ALL
        while links := await self._catalog.read(_freed_links, after, self._steady, self._cutoff):
            self._count_links(links, None)
            after = (links[-1].repo_id, links[-1].digest)

    def _count_links(self, links: Sequence[_Link], gone: set[Any] | None) -> None:
        for link in links:
            why, since = Reason.UNNEEDED, link.lease_until
            if link.deleted_at is not None:
                why, since = Reason.UNDO_OVER, link.deleted_at
            removal = Removal("link", link.digest, why, self._steady - since, link.size, link.repository)
            self._count(gone, (link.repo_id, link.digest), removal)
            if link.frees_blob:
                self._count_blob(None, _Blob(link.digest, link.size, link.lease_until))

    async def blobs(self) -> None:
        delete_after = self._steady + microseconds(self._settings.trash_delay_s)
        async for blobs in self._windows(queries.BEFORE_ALL[1], _dead_blobs):
            async for rows, gone in self._applied(blobs, _delete_blobs, self._steady, delete_after):
                for blob in rows:
                    self._count_blob(gone, blob)

    def _count_blob(self, gone: set[Any] | None, blob: _Blob) -> None:
        elapsed = self._steady - blob.lease_until
        removal = Removal("blob", blob.digest, Reason.UNLINKED, elapsed, blob.size)
        self._count(gone, blob.digest, removal)

    async def uploads(self) -> None:
        async for page in self._pages(queries.UPLOADS, {"after_id": ""}, lambda row: {"after_id": row["id"]}):
            async for rows, gone in self._applied(page, _delete_uploads, self._steady):
                for row in rows:
                    elapsed = self._steady - row["expires_at"]
                    removal = Removal(
                        "upload", row["id"], Reason.IDLE, elapsed, row["offset"], row["repository"]
                    )
                    self._count(gone, row["id"], removal)

    async def repositories(self) -> None:
        async for page in self._pages(
            queries.BURIED_REPOSITORIES, {"after_id": 0}, lambda row: {"after_id": row["id"]}
        ):
            async for rows, gone in self._applied(page, _delete_repositories, self._cutoff):
                for row in rows:
                    elapsed = self._steady - row["deleted_at"]
                    removal = Removal("repository", row["name"], Reason.UNDO_OVER, elapsed)
                    self._count(gone, row["id"], removal)
        if not self._dry_run:
            await self._write(_delete_projects, self._cutoff)

    async def _windows(self, start: Any, look: Callable[..., _Window], *args: Any) -> AsyncIterator[Any]:
        """What is dead, one window after the other, the first one after `start`."""
        end = start
        while end is not None:
            with self._looking.step():
                window = await self._catalog.read(look, end, self._looking.rows, self._steady, *args)
            await self._looking.rest()
            if window.dead:
                yield window.dead
            end = window.end

    async def _pages(
        self, statement: Select[Any], start: dict[str, Any], after: Callable[[RowMapping], dict[str, Any]]
    ) -> AsyncIterator[Sequence[RowMapping]]:
        names = {"steady": self._steady, "cutoff": self._cutoff, "limit": PAGE, **start}
        while True:
            wanted = statement.compile().params.keys() & names.keys()
            page = await self._catalog.read(_page, statement, {name: names[name] for name in wanted})
            if page:
                yield page
                names |= after(page[-1])
            if len(page) < PAGE:
                return

    async def _applied(
        self, found: Sequence[Any], remove: Callable[..., set[Any]], *args: Any
    ) -> AsyncIterator[tuple[Sequence[Any], set[Any] | None]]:
        """Remove what was found, some at a time, and tell of each part which of it is gone.

        None instead in a dry run, which removes nothing and counts all.
        """
        if self._dry_run:
            yield found, None
            await asyncio.sleep(0)
            return
        start = 0
        while start < len(found):
            rows = found[start : start + self._writing.rows]
            yield rows, await self._write(remove, rows, *args)
            start += len(rows)

    async def _write(self, work: Callable[..., T], *args: Any) -> T:
        """Run a transaction that removes, and rest.

        It is not waited for on disk. If the machine stops before it is there, the next run finds the same
        things again; and no byte goes before it is: the sweeper syncs first.
        """
        with self._writing.step():
            result = await self._catalog.write(work, *args, durable=False)
        await self._writing.rest()
        return result

    def _count(self, gone: set[Any] | None, key: Any, removal: Removal) -> bool:
        if gone is not None and key not in gone:
            self.report.in_use += 1
            return False
        self.report.add(removal)
        if self._on_removal is not None:
            self._on_removal(removal)
        return True


# What windows and pages hold


def _page(connection: Connection, statement: Select[Any], values: dict[str, Any]) -> Sequence[RowMapping]:
    return connection.execute(statement, values).mappings().all()


def _dead_links(
    connection: Connection, after: tuple[int, str], limit: int, steady: int, cutoff: int, planned: bool
) -> _Window:
    start = {"p_after_repo": after[0], "p_after": after[1]}
    end = queries.LINK_WINDOW_END.row(connection, {**start, "limit": limit})
    upto = end or queries.AFTER_ALL
    window = {**start, "p_upto_repo": upto[0], "p_upto": upto[1]}
    unneeded = queries.UNNEEDED_LINKS.rows(connection, window)
    statement = queries.DEAD_LINKS_PLANNED if planned else queries.DEAD_LINKS
    dead: list[_Link] = []
    for keys in _parts(unneeded):
        values = {**_exactly(keys), "steady": steady, "cutoff": cutoff}
        dead += [_Link(*row) for row in statement.rows(connection, values)]
    return _Window(end, dead)


def _freed_links(connection: Connection, after: tuple[int, str], steady: int, cutoff: int) -> Sequence[_Link]:
    values = {
        "p_after_repo": after[0],
        "p_after": after[1],
        "steady": steady,
        "cutoff": cutoff,
        "limit": PAGE,
    }
    return [_Link(*row) for row in queries.FREED_LINKS.rows(connection, values)]


def _dead_blobs(connection: Connection, after: str, limit: int, steady: int) -> _Window:
    end = queries.BLOB_WINDOW_END.value(connection, {"p_after": after, "limit": limit})
    window = {"p_after": after, "p_upto": end or queries.AFTER_ALL[1]}
    unlinked = queries.UNLINKED_BLOBS.rows(connection, window)
    dead: list[_Blob] = []
    for keys in _parts(unlinked):
        values = {"p_digests": [digest for (digest,) in keys], "steady": steady}
        dead += [_Blob(*row) for row in queries.DEAD_BLOBS.rows(connection, values)]
    return _Window(end, dead)


def _parts(keys: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (keys[start : start + PAGE] for start in range(0, len(keys), PAGE))


def _exactly(keys: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """What names these links: the window they are in, their blobs, and themselves."""
    (first_repo, first), (last_repo, last) = min(keys), max(keys)
    return {
        # A window does not hold its own beginning: take what is just before the first.
        "p_after_repo": first_repo,
        "p_after": first[:-1],
        "p_upto_repo": last_repo,
        "p_upto": last,
        "p_digests": sorted({digest for _, digest in keys}),
        "p_links": [f"{repo_id}/{digest}" for repo_id, digest in keys],
    }


# Transactions


def _delete_tags(connection: Connection, cutoff: int, limit: int) -> int:
    values = {"cutoff": cutoff, "limit": limit}
    return connection.execute(queries.DELETE_TAGS_OF_BURIED_REPOSITORIES, values).rowcount


def _delete_manifests(connection: Connection, page: Sequence[RowMapping], cutoff: int) -> set[int]:
    gone: set[int] = set()

    def delete(ids: Sequence[int]) -> Iterable[int]:
        return _deleted(connection, queries.DELETE_BURIED_MANIFESTS, {"ids": ids, "cutoff": cutoff})

    for depth in sorted({row["depth"] for row in page}, reverse=True):
        # An index takes its references along; only then do its children have none.
        gone.update(_each(connection, delete, [row["id"] for row in page if row["depth"] == depth]))
    return gone


def _bury_untagged(
    connection: Connection, rows: Sequence[RowMapping], older: int, now: int, steady: int
) -> set[int]:
    gone = set()
    for row in rows:
        if connection.execute(queries.LOCK_MANIFEST, {"one": row["id"]}).first() is None:
            continue
        values = {"one": row["id"], "after_id": 0, "older": older, "limit": 1}
        if connection.execute(queries.STILL_UNTAGGED, values).first() is None:
            continue
        try:
            delete_manifest(connection, row["repository"], row["digest"], SYSTEM, allow_all, now, steady)
        except ManifestUnknown:
            continue
        gone.add(row["id"])
    return gone


def _delete_links(
    connection: Connection, links: Sequence[_Link], steady: int, cutoff: int
) -> set[tuple[int, str]]:
    def delete(keys: Sequence[tuple[int, str]]) -> Iterable[tuple[int, str, int | None]]:
        values = {"steady": steady, "cutoff": cutoff}
        locked = queries.LOCK_LINKS.rows(connection, {**values, **_exactly(keys)})
        return queries.DELETE_LINKS.rows(connection, {**values, **_exactly(locked)}) if locked else ()

    by_key = {(link.repo_id, link.digest): link for link in links}
    removed = list(_each(connection, delete, list(by_key)))
    live = set(
        connection.execute(queries.LIVE_REPOSITORIES, {"ids": sorted({row[0] for row in removed})}).scalars()
    )
    usage: dict[int, int] = {}
    for repo_id, digest, deleted_at in removed:
        link = by_key[repo_id, digest]
        if repo_id in live and deleted_at is None:
            usage[link.project_id] = usage.get(link.project_id, 0) - link.size
    for project_id in sorted(usage):
        add_usage(connection, project_id, usage[project_id])
    return {(repo_id, digest) for repo_id, digest, _ in removed}


def _delete_blobs(connection: Connection, blobs: Sequence[_Blob], steady: int, delete_after: int) -> set[str]:
    def delete(digests: Sequence[str]) -> Iterable[str]:
        values = {"p_digests": list(digests), "steady": steady}
        values["p_digests"] = [digest for (digest,) in queries.LOCK_BLOBS.rows(connection, values)]
        if not values["p_digests"]:
            return ()
        moved = queries.MOVE_BLOBS.run(connection, {**values, "p_delete_after": delete_after})
        deleted = [digest for (digest,) in queries.DELETE_BLOBS.rows(connection, values)]
        if len(deleted) != moved:
            raise RetryTransaction  # can't be while they are locked; a row never goes without its name
        return deleted

    return set(_each(connection, delete, [blob.digest for blob in blobs]))


def _delete_uploads(connection: Connection, page: Sequence[RowMapping], steady: int) -> set[str]:
    ids = [row["id"] for row in page]
    rows = connection.execute(queries.DELETE_UPLOADS, {"ids": ids, "steady": steady}).mappings().all()
    for row in rows:
        throw_away(
            connection, row["phys"], reason="upload-expired", now=steady, after=steady, size=row["offset"]
        )
    return {row["id"] for row in rows}


def _delete_repositories(connection: Connection, page: Sequence[RowMapping], cutoff: int) -> set[int]:
    def delete(ids: Sequence[int]) -> Iterable[int]:
        return _deleted(connection, queries.DELETE_REPOSITORIES, {"ids": ids, "cutoff": cutoff})

    return set(_each(connection, delete, [row["id"] for row in page]))


def _delete_projects(connection: Connection, cutoff: int) -> None:
    try:
        with connection.begin_nested():
            connection.execute(queries.DELETE_PROJECTS, {"cutoff": cutoff})
    except INTEGRITY_ERRORS as error:
        log.debug("project in use", reason=str(error))


def _deleted(connection: Connection, statement: ReturningDelete[Any], values: dict[str, Any]) -> list[Any]:
    return list(connection.execute(statement, values).scalars())


def _each(
    connection: Connection, delete: Callable[[Sequence[Any]], Iterable[T]], keys: Sequence[Any]
) -> Iterable[T]:
    """Delete `keys` at once, or by halves when a foreign key says that one of them is in use."""
    if not keys:
        return []
    try:
        with connection.begin_nested():
            return list(delete(keys))
    except INTEGRITY_ERRORS:
        if len(keys) == 1:
            return []
    middle = len(keys) // 2
    return [*_each(connection, delete, keys[:middle]), *_each(connection, delete, keys[middle:])]
