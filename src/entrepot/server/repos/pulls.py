"""When each tag was last pulled and how often: counted in memory, written now and then.

A count that is lost in a crash breaks no promise, so nothing waits for it.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Connection, Text, bindparam, insert, select, update

from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock
from entrepot.server.db.tables import manifest, repo, tag_pull
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
MOST_NOTED = 50_000
"""Different tags and digests held between two writes; what comes after is not counted."""


class Pulls:
    """Counts pulls. Call `flush` every few seconds and at the end."""

    def __init__(self, catalog: Catalog, clock: Clock | None = None) -> None:
        self._catalog = catalog
        self._clock = clock or catalog.clock
        self._tags: dict[tuple[int, str], int] = {}
        self._manifests: dict[tuple[int, str], None] = {}

    def note(self, repo_id: int, digest: str, tag: str | None) -> None:
        """A manifest was handed out, by this tag or by its digest."""
        if len(self._manifests) < MOST_NOTED:
            self._manifests[repo_id, digest] = None
        if tag is not None and ((repo_id, tag) in self._tags or len(self._tags) < MOST_NOTED):
            self._tags[repo_id, tag] = self._tags.get((repo_id, tag), 0) + 1

    async def flush(self) -> int:
        """Write what was noted since the last time; returns how many rows that were."""
        tags, self._tags = self._tags, {}
        manifests, self._manifests = self._manifests, {}
        if tags or manifests:
            await self._catalog.write(_write, tags, list(manifests), self._clock.now(), durable=False)
        return len(tags) + len(manifests)


def _write(
    connection: Connection, tags: dict[tuple[int, str], int], manifests: list[tuple[int, str]], at: int
) -> None:
    for (repo_id, name), count in sorted(tags.items()):
        row = {"p_repo": repo_id, "p_name": name, "p_count": count, "p_at": at}
        if connection.execute(_COUNT, row).rowcount == 0:
            insert_new(connection, _FIRST, row)
    if manifests:
        rows = [{"p_repo": repo_id, "p_digest": digest, "p_at": at} for repo_id, digest in sorted(manifests)]
        connection.execute(_MANIFEST, rows)
