"""When each tag was last pulled and how often: counted in memory, written now and then.

A pull is one GET of a manifest by tag, or by the digest that the same client has just been told for a tag:
docker and containerd ask HEAD by tag and then GET by digest. Of an index only the index is asked for in that
way, so its children are not counted besides. HEAD alone is a look: it renews when a tag was last wanted, not
how often.

The two requests may reach different processes or nodes (docker opens a connection for each), so a look that
found no GET here is shared through the database with the next flush, and a GET that found no look waits for
`WAIT_S` for one from there. Rows of looks live a minute.

A count that is lost in a crash breaks no promise, so nothing waits for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy import BigInteger, Connection, Text, bindparam, delete, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite understands the same words

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import SECOND, Clock
from entrepot.server.db.tables import manifest, pull_look, repo, tag_pull, tag_pull_day
from entrepot.server.repos.rows import insert_new

__all__ = ["Pulls"]

_COUNT = (
    update(tag_pull)
    .where(tag_pull.c.repo_id == bindparam("p_repo"), tag_pull.c.name == bindparam("p_name"))
    .values(count=tag_pull.c.count + bindparam("p_count"), pulled_at=bindparam("p_at"))
)
_FIRST = insert(tag_pull).from_select(
    ["repo_id", "name", "count", "pulled_at"],
    # A repository deleted since is passed over.
    select(
        repo.c.id,
        bindparam("p_name", type_=Text),
        bindparam("p_count", type_=BigInteger),
        bindparam("p_at", type_=BigInteger),
    ).where(repo.c.id == bindparam("p_repo")),
)
_MANIFEST = (
    update(manifest)
    .where(manifest.c.repo_id == bindparam("p_repo"), manifest.c.digest == bindparam("p_digest"))
    .values(pulled_at=bindparam("p_at"))
)
_COUNT_DAY = (
    update(tag_pull_day)
    .where(
        tag_pull_day.c.repo_id == bindparam("p_repo"),
        tag_pull_day.c.name == bindparam("p_name"),
        tag_pull_day.c.day == bindparam("p_day"),
    )
    .values(count=tag_pull_day.c.count + bindparam("p_count"))
)
_FIRST_OF_DAY = insert(tag_pull_day).from_select(
    ["repo_id", "name", "day", "count"],
    select(
        repo.c.id,
        bindparam("p_name", type_=Text),
        bindparam("p_day", type_=BigInteger),
        bindparam("p_count", type_=BigInteger),
    ).where(repo.c.id == bindparam("p_repo")),
)
_OLD_DAYS = delete(tag_pull_day).where(tag_pull_day.c.day < bindparam("p_before"))
_SHARE = upsert(pull_look).values(
    repo_id=bindparam("p_repo"),
    digest=bindparam("p_digest"),
    who=bindparam("p_who"),
    name=bindparam("p_name"),
    count=bindparam("p_count"),
    at=bindparam("p_at"),
)
_SHARE = _SHARE.on_conflict_do_update(
    index_elements=[pull_look.c.repo_id, pull_look.c.digest, pull_look.c.who],
    set_={
        "name": _SHARE.excluded.name,
        "count": pull_look.c.count + _SHARE.excluded.count,
        "at": _SHARE.excluded.at,
    },
)
_LOOKS = select(
    pull_look.c.who,
    pull_look.c.repo_id,
    pull_look.c.digest,
    pull_look.c.name,
    pull_look.c.count,
    pull_look.c.at,
)
_THIS_LOOK = (
    (pull_look.c.repo_id == bindparam("p_repo"))
    & (pull_look.c.digest == bindparam("p_digest"))
    & (pull_look.c.who == bindparam("p_who"))
)
_TAKE_LOOKS = update(pull_look).where(_THIS_LOOK).values(count=pull_look.c.count - bindparam("p_count"))
_USED_UP = delete(pull_look).where(pull_look.c.count <= 0)
_OLD_LOOKS = delete(pull_look).where(pull_look.c.at < bindparam("p_before"))
DAY_S: Final = 24 * 3600
DAYS_KEPT: Final = 400
"""A year and a month, so that the same month a year ago can be seen beside this one."""
PAIR_S: Final = 60.0
"""A GET by digest so soon after a HEAD by tag is that tag's pull; that long a shared look is kept."""
WAIT_S: Final = 15.0
"""How long a GET by digest waits for a look that another process has yet to share: two flushes and more."""
SKEW_S: Final = 2.0
"""By how much the clocks of two nodes may differ: a look comes before its GET."""
MOST_SHARED: Final = 5_000
"""Looks written in one transaction; who looks more often than that is no docker."""
MOST_NOTED = 50_000
"""Different tags and digests held between two writes; what comes after is not counted."""


Look = tuple[str, int, str]
"""Who, a repository, a digest."""


@dataclass(slots=True)
class _Looks:
    """Looks of one client at one manifest, not followed by a GET yet."""

    tag: str
    """The last one it was asked by."""
    count: int
    at: int
    """The last one's time."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one flush writes."""

    tags: dict[tuple[int, str], int]
    manifests: list[tuple[int, str]]
    shared: dict[Look, _Looks]
    """Looks for other processes."""
    waiting: dict[Look, list[int]]
    """GETs by digest, by their times, that may be the other half of a look."""
    now: int
    before: int | None
    """Days before this one are forgotten."""


class Pulls:
    """Counts pulls. Call `flush` every few seconds and at the end."""

    def __init__(self, catalog: Catalog, clock: Clock | None = None) -> None:
        self._catalog = catalog
        self._clock = clock or catalog.clock
        self._tags: dict[tuple[int, str], int] = {}
        self._manifests: dict[tuple[int, str], None] = {}
        self._looks: dict[Look, _Looks] = {}
        """Since the last flush."""
        self._waiting: dict[Look, list[int]] = {}
        """GETs by digest without a look, by their times."""
        self._pruned_day = 0

    def note_look(self, repo_id: int, digest: str, tag: str, who: str) -> None:
        """HEAD by tag. `who`: the client, as far as one can be told from another."""
        self._count(repo_id, digest, tag, 0)
        looks = self._looks.get((who, repo_id, digest))
        if looks is not None:
            looks.tag, looks.count, looks.at = tag, looks.count + 1, self._clock.now()
        elif len(self._looks) < MOST_SHARED:
            self._looks[who, repo_id, digest] = _Looks(tag, 1, self._clock.now())

    def note(self, repo_id: int, digest: str, tag: str | None, who: str) -> None:
        """GET: a manifest was handed out, by this tag or by its digest."""
        if tag is None:
            tag = self._half_of(who, repo_id, digest)
        self._count(repo_id, digest, tag, 1)

    def _half_of(self, who: str, repo_id: int, digest: str) -> str | None:
        """The tag whose pull a GET by digest completes, as far as is known here."""
        key = who, repo_id, digest
        looks = self._looks.get(key)
        if looks is not None:
            looks.count -= 1
            if not looks.count:
                del self._looks[key]
            return looks.tag
        if key in self._waiting or len(self._waiting) < MOST_NOTED:
            self._waiting.setdefault(key, []).append(self._clock.now())
        return None

    def _count(self, repo_id: int, digest: str, tag: str | None, by: int) -> None:
        if len(self._manifests) < MOST_NOTED:
            self._manifests[repo_id, digest] = None
        if tag is not None and ((repo_id, tag) in self._tags or len(self._tags) < MOST_NOTED):
            self._tags[repo_id, tag] = self._tags.get((repo_id, tag), 0) + by

    async def flush(self) -> int:
        """Write what was noted since the last time; returns how many tags and manifests that were."""
        tags, self._tags = self._tags, {}
        manifests, self._manifests = self._manifests, {}
        looks, self._looks = self._looks, {}
        now = self._clock.now()
        since = now - round(WAIT_S * SECOND)
        kept = {look: [at for at in times if at >= since] for look, times in self._waiting.items()}
        self._waiting = {look: times for look, times in kept.items() if times}
        waiting = {look: list(times) for look, times in self._waiting.items()}
        if not (tags or manifests or looks or waiting):
            return 0
        day = now // (DAY_S * SECOND)
        before = day - DAYS_KEPT if day != self._pruned_day else None
        batch = _Batch(tags, list(manifests), looks, waiting, now, before)
        for look, number in (await self._catalog.write(_write, batch, durable=False)).items():
            del self._waiting.get(look, [])[:number]
        self._pruned_day = day
        return len(tags) + len(manifests)


def _write(connection: Connection, batch: _Batch) -> dict[Look, int]:
    """Returns how many of the waiting GETs have found their look."""
    now = batch.now
    counts = dict(batch.tags)
    found = _share_and_find(connection, batch)
    for (_who, repo_id, _digest), (name, number) in found.items():
        counts[repo_id, name] = counts.get((repo_id, name), 0) + number
    for (repo_id, name), count in sorted(counts.items()):
        row = {"p_repo": repo_id, "p_name": name, "p_count": count, "p_at": now}
        if connection.execute(_COUNT, row).rowcount == 0:
            insert_new(connection, _FIRST, row)
        of_day = {"p_repo": repo_id, "p_name": name, "p_count": count, "p_day": now // (DAY_S * SECOND)}
        if count and connection.execute(_COUNT_DAY, of_day).rowcount == 0:
            insert_new(connection, _FIRST_OF_DAY, of_day)
    if batch.manifests:
        rows = [{"p_repo": repo, "p_digest": digest, "p_at": now} for repo, digest in sorted(batch.manifests)]
        connection.execute(_MANIFEST, rows)
    if batch.before is not None:
        connection.execute(_OLD_DAYS, {"p_before": batch.before})
    return {look: number for look, (_name, number) in found.items()}


def _share_and_find(connection: Connection, batch: _Batch) -> dict[Look, tuple[str, int]]:
    if batch.shared:
        rows = [
            {
                "p_who": who,
                "p_repo": repo_id,
                "p_digest": digest,
                "p_name": looks.tag,
                "p_count": looks.count,
                "p_at": looks.at,
            }
            for (who, repo_id, digest), looks in sorted(batch.shared.items(), key=lambda item: item[0])
        ]
        connection.execute(_SHARE, rows)
        connection.execute(_OLD_LOOKS, {"p_before": batch.now - round(PAIR_S * SECOND)})
    if not batch.waiting:
        return {}
    found: dict[Look, tuple[str, int]] = {}
    # All that are there, a minute's worth, and not one question for each GET: most GETs by digest have none.
    for who, repo_id, digest, name, count, looked_at in connection.execute(_LOOKS):
        look = who, repo_id, digest
        after = [at for at in batch.waiting.get(look, ()) if at + round(SKEW_S * SECOND) >= looked_at]
        if after:
            found[look] = name, min(len(after), count)
    for (who, repo_id, digest), (_name, number) in sorted(found.items()):
        key = {"p_who": who, "p_repo": repo_id, "p_digest": digest}
        connection.execute(_TAKE_LOOKS, {**key, "p_count": number})
    if found:
        connection.execute(_USED_UP)
    return found
