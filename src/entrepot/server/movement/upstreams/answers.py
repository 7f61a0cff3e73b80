"""What an upstream said of its tags, and when: in memory, and as rows for other processes and later."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite understands the same words

from entrepot.oci.digest import Digest
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.db.statements import HotQuery, Prepared
from entrepot.server.db.tables import upstream_answer

__all__ = ["Answers", "TagAnswer"]

MOST: Final = 5_000
KEPT_S: Final = 30 * 86_400.0
FORGET_EACH: Final = 500
"""Old rows go with about one in so many new ones."""
_FORGET: Final = Prepared(delete(upstream_answer).where(upstream_answer.c.checked_at < bindparam("p_before")))
_FIND: Final = HotQuery(
    select(
        upstream_answer.c.digest,
        upstream_answer.c.media_type,
        upstream_answer.c.size,
        upstream_answer.c.checked_at,
    ).where(
        upstream_answer.c.project_id == bindparam("project"),
        upstream_answer.c.repository == bindparam("repository"),
        upstream_answer.c.tag == bindparam("tag"),
    )
)
_TAGS: Final = HotQuery(
    select(upstream_answer.c.tag)
    .where(
        upstream_answer.c.project_id == bindparam("project"),
        upstream_answer.c.repository == bindparam("repository"),
        upstream_answer.c.digest == bindparam("digest"),
    )
    .order_by(upstream_answer.c.checked_at.desc())
    .limit(10)
)
_new = upsert(upstream_answer).values(
    project_id=bindparam("p_project"),
    repository=bindparam("p_repository"),
    tag=bindparam("p_tag"),
    digest=bindparam("p_digest"),
    media_type=bindparam("p_type"),
    size=bindparam("p_size"),
    checked_at=bindparam("p_at"),
)
_SAVE: Final = Prepared(
    _new.on_conflict_do_update(
        index_elements=[
            upstream_answer.c.project_id,
            upstream_answer.c.repository,
            upstream_answer.c.tag,
        ],
        set_={
            "digest": _new.excluded.digest,
            "media_type": _new.excluded.media_type,
            "size": _new.excluded.size,
            "checked_at": _new.excluded.checked_at,
        },
    )
)


@dataclass(frozen=True, slots=True)
class TagAnswer:
    """What a tag was at a time (microseconds)."""

    digest: Digest | None
    """None: there is no such tag."""
    media_type: str
    size: int
    checked_at: int


class Answers:
    """One for each process."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._known: OrderedDict[tuple[int, str, str], TagAnswer] = OrderedDict()

    async def find(self, project_id: int, repository: str, tag: str, *, since: int) -> TagAnswer | None:
        """The latest answer; one asked for by another process is looked up when this one's is from before
        `since`.
        """
        key = (project_id, repository, tag)
        known = self._known.get(key)
        if known is not None and known.checked_at >= since:
            return known
        rows = await self._catalog.hot(_FIND, project=project_id, repository=repository, tag=tag)
        if not rows:
            return known
        digest, media_type, size, checked_at = rows[0]
        found = TagAnswer(Digest.parse(digest) if digest else None, media_type, size, checked_at)
        if known is None or found.checked_at > known.checked_at:
            self._remember(key, found)
        return self._known[key]

    async def save(self, project_id: int, repository: str, tag: str, answer: TagAnswer) -> None:
        """Kept for a month: who pulls the tag later asks for it anyway."""
        self._remember((project_id, repository, tag), answer)
        await self._catalog.write(
            _save, project_id, repository, tag, answer, durable=False, brief=not _forgets(answer)
        )

    def forget(self, project_id: int, repository: str, tag: str) -> None:
        """This process's own knowledge."""
        self._known.pop((project_id, repository, tag), None)

    async def tags_at(self, project_id: int, repository: str, digest: Digest) -> tuple[str, ...]:
        """Tags that any process was told to be at a digest: who fetches it fetches it for them."""
        rows = await self._catalog.hot(_TAGS, project=project_id, repository=repository, digest=str(digest))
        return tuple(tag for (tag,) in rows)

    def _remember(self, key: tuple[int, str, str], answer: TagAnswer) -> None:
        self._known[key] = answer
        self._known.move_to_end(key)
        while len(self._known) > MOST:
            self._known.popitem(last=False)


def _forgets(answer: TagAnswer) -> bool:
    return answer.checked_at % FORGET_EACH == 0


def _save(connection: Connection, project_id: int, repository: str, tag: str, answer: TagAnswer) -> None:
    if _forgets(answer):
        _FORGET.run(connection, {"p_before": answer.checked_at - microseconds(KEPT_S)})
    _SAVE.run(
        connection,
        {
            "p_project": project_id,
            "p_repository": repository,
            "p_tag": tag,
            "p_digest": None if answer.digest is None else str(answer.digest),
            "p_type": answer.media_type[:255],
            "p_size": answer.size,
            "p_at": answer.checked_at,
        },
    )
