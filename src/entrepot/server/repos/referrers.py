"""Manifests that name another one as their subject (distribution-spec: Listing Referrers).

They are found by an index over the subject from the first push on, so that listing them merges nothing; a tag
`sha256-<hex>` that a client keeps for registries without this is a tag like any other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from sqlalchemy import bindparam, select

from entrepot.oci.descriptor import NO_ANNOTATIONS, Descriptor
from entrepot.oci.digest import Digest
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import manifest, repo

__all__ = ["Referrers", "ReferrersPage"]

_ALL = (
    select(
        manifest.c.media_type,
        manifest.c.digest,
        manifest.c.size,
        manifest.c.artifact_type,
        manifest.c.annotations,
    )
    .select_from(repo)
    .join(manifest, manifest.c.repo_id == repo.c.id)
    .where(
        repo.c.name == bindparam("repository"),
        repo.c.deleted_at.is_(None),
        manifest.c.subject == bindparam("subject"),
        manifest.c.deleted_at.is_(None),
        manifest.c.digest > bindparam("last"),
    )
    .order_by(manifest.c.digest)
    .limit(bindparam("n"))
)
_PAGE = HotQuery(_ALL)
_FILTERED = HotQuery(_ALL.where(manifest.c.artifact_type == bindparam("artifact_type")))


@dataclass(frozen=True, slots=True)
class ReferrersPage:
    """Some of a manifest's referrers."""

    descriptors: tuple[Descriptor, ...]
    """In the order of their digests, with artifact type and annotations."""
    more: bool
    """Whether others follow; ask again with the last digest."""


class Referrers:
    """Referrers of all manifests."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def list(
        self,
        repository: str,
        digest: Digest,
        *,
        artifact_type: str | None = None,
        last: str | None = None,
        n: int = 1000,
    ) -> ReferrersPage:
        """At most `n` referrers of `digest` after `last`; none for what the repository has never seen."""
        key = {"repository": repository, "subject": str(digest), "last": last or "", "n": n + 1}
        if artifact_type:
            rows = await self._catalog.hot(_FILTERED, artifact_type=artifact_type, **key)
        else:
            rows = await self._catalog.hot(_PAGE, **key)
        return ReferrersPage(tuple(_descriptor(*row) for row in rows[:n]), len(rows) > n)


def _descriptor(
    media_type: str, digest: str, size: int, artifact_type: str | None, annotations: str | None
) -> Descriptor:
    noted: Mapping[str, str] = (
        msgspec.json.decode(annotations, type=dict[str, str]) if annotations else NO_ANNOTATIONS
    )
    return Descriptor(media_type, Digest.parse(digest), size, annotations=noted, artifact_type=artifact_type)
