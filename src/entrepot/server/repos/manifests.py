"""Manifests: read by one point query, pushed and deleted in one transaction each.

A push, step by step, all or nothing:

1. The repository (and its project) exists or may be made.
2. Leave for the push, and for each tag that is created or moved; If-Match and If-None-Match hold.
3. Every reference is checked again and locked, in the order of digests.
4. The manifest with its references; foreign keys are the last word.
5. Tags, their history, audit rows, the event, the usage of the project.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, select

from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, Index, ManifestTooLarge, parse_manifest
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Permit, allow_all
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import Clock
from entrepot.server.db.statements import HotQuery
from entrepot.server.db.tables import manifest, repo, tag
from entrepot.server.repos.errors import ContentMismatch, TooManyTags
from entrepot.server.repos.limits import DEFAULT_LIMITS, RepositoryLimits, Sparse
from entrepot.server.repos.manifestdelete import delete_manifest, delete_tag
from entrepot.server.repos.manifestput import ManifestPut, PutManifestResult, put_manifest

__all__ = ["Manifests", "PutManifestResult", "StoredManifest"]

PARSE_IN_THREAD_BYTES = 64 * 1024
"""Larger manifests are parsed away from the event loop: four megabytes of JSON take half a second."""

BRIEF_BYTES = 16 * 1024
"""A smaller manifest refers to few enough blobs for its transaction to be brief."""


def _read(*extra: Any) -> Select[Any]:
    return (
        select(
            manifest.c.digest,
            manifest.c.media_type,
            manifest.c.size,
            repo.c.id,
            repo.c.proxied,
            *extra,
        )
        .select_from(repo)
        .join(manifest, manifest.c.repo_id == repo.c.id)
        .where(
            repo.c.name == bindparam("repository"),
            repo.c.deleted_at.is_(None),
            manifest.c.deleted_at.is_(None),
        )
    )


def _by_tag(*extra: Any) -> HotQuery:
    return HotQuery(
        _read(*extra)
        .join(tag, (tag.c.repo_id == repo.c.id) & (tag.c.digest == manifest.c.digest))
        .where(tag.c.name == bindparam("reference"))
    )


def _by_digest(*extra: Any) -> HotQuery:
    return HotQuery(_read(*extra).where(manifest.c.digest == bindparam("reference")))


_GET = {"tag": _by_tag(manifest.c.body), "digest": _by_digest(manifest.c.body)}
_HEAD = {"tag": _by_tag(), "digest": _by_digest()}


@dataclass(frozen=True, slots=True)
class StoredManifest:
    """A manifest as it was pushed."""

    digest: Digest
    media_type: str
    size: int
    repo_id: int
    raw: bytes = b""
    """Empty in the answer to `head`."""
    proxied: bool = False
    """Fetched from another registry, which may say by now that a tag is another manifest."""


class Manifests:
    """Manifests of all repositories."""

    def __init__(
        self,
        catalog: Catalog,
        limits: RepositoryLimits = DEFAULT_LIMITS,
        clock: Clock | None = None,
    ) -> None:
        self._catalog = catalog
        self._limits = limits
        self._clock = clock or catalog.clock

    async def get(self, repository: str, reference: str | Digest) -> StoredManifest | None:
        """The manifest with its bytes, None when the repository has no such tag or digest."""
        return await self._find(_GET, repository, reference)

    async def head(self, repository: str, reference: str | Digest) -> StoredManifest | None:
        """The same without the bytes."""
        return await self._find(_HEAD, repository, reference)

    async def put(
        self,
        repository: str,
        *,
        raw: bytes,
        media_type: str | None,
        tag: str | None = None,
        digest: Digest | None = None,
        extra_tags: Sequence[str] = (),
        if_match: Sequence[str] | None = None,
        if_none_match_any: bool = False,
        sparse: Sparse | None = None,
        actor: Actor,
        permit: Permit = allow_all,
    ) -> PutManifestResult:
        """Store a manifest, and tag it with `tag` and `extra_tags`; durable when this returns.

        `digest` is what the client called it by, `if_match` the digests (or `*`) one of which the first tag,
        or the manifest itself when there is no tag, must have now. `sparse` says what it may refer to that
        is not here, in place of the registry's setting. On any error nothing has changed.
        Raises InvalidManifest, ManifestTooLarge, DigestMismatch, ManifestBlobUnknown, PreconditionFailed,
        TooManyTags, QuotaExceeded, Denied, Unavailable.
        """
        tags = tuple(dict.fromkeys((*([tag] if tag else ()), *extra_tags)))
        if len(tags) > self._limits.tags_per_push:
            raise TooManyTags(self._limits.tags_per_push)
        if len(raw) > self._limits.manifest.max_bytes:
            raise ManifestTooLarge(
                f"manifest has {len(raw)} bytes; the limit is {self._limits.manifest.max_bytes}"
            )
        found = Digest.of(raw, digest.algorithm if digest else "sha256")
        if digest is not None and found != digest:
            raise ContentMismatch(digest, found)
        request = ManifestPut.of(
            await self._parse(raw, media_type),
            repository=repository,
            digest=found,
            tags=tags,
            if_match=None if if_match is None else tuple(if_match),
            if_none_match_any=if_none_match_any,
            sparse=sparse or self._limits.sparse,
            index_depth=self._limits.index_depth,
            actor=actor,
            permit=permit,
            now=self._clock.now(),
            steady=self._clock.steady(),
        )
        return await self._catalog.write(put_manifest, request, brief=len(raw) < BRIEF_BYTES)

    async def delete_tag(
        self, repository: str, tag: str, *, actor: Actor, permit: Permit = allow_all
    ) -> Digest:
        """Remove a tag; what it pointed to stays. Returns that. Raises NameUnknown, ManifestUnknown,
        Denied.
        """
        digest = await self._catalog.write(
            delete_tag, repository, tag, actor, permit, self._clock.now(), self._clock.steady()
        )
        return Digest.parse(digest)

    async def delete_manifest(
        self, repository: str, digest: Digest, *, actor: Actor, permit: Permit = allow_all
    ) -> tuple[str, ...]:
        """Remove a manifest and its tags, which are returned. Until the undo window ends it can be brought
        back.

        Raises NameUnknown, ManifestUnknown, Denied.
        """
        return await self._catalog.write(
            delete_manifest, repository, str(digest), actor, permit, self._clock.now(), self._clock.steady()
        )

    async def _parse(self, raw: bytes, media_type: str | None) -> ImageManifest | Index:
        if len(raw) < PARSE_IN_THREAD_BYTES:
            return parse_manifest(raw, media_type, limits=self._limits.manifest)
        return await asyncio.to_thread(parse_manifest, raw, media_type, limits=self._limits.manifest)

    async def _find(
        self, queries: dict[str, HotQuery], repository: str, reference: str | Digest
    ) -> StoredManifest | None:
        kind = "digest" if isinstance(reference, Digest) else "tag"
        rows = await self._catalog.hot(queries[kind], repository=repository, reference=str(reference))
        if not rows:
            return None
        digest, media_type, size, repo_id, proxied, *rest = rows[0]
        raw = rest[0] if rest else b""
        return StoredManifest(Digest.parse(digest), media_type, size, repo_id, raw, bool(proxied))
