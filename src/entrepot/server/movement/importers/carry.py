"""Brings what an origin holds into this registry.

Blobs first, each once whatever number of repositories has it; then manifests, what an index names before the
index; tags with their manifest, in its transaction. Bytes are verified and synced before their row. All of it
can be seen as soon as it is here, and a run that was killed goes on from there.

What has been pushed, moved or deleted here since the last run is left as it is: people may work here already.
"""

from __future__ import annotations

import asyncio
import fnmatch
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection

from entrepot.client.errors import RegistryFailed
from entrepot.errors import Conflict, EntrepotError, Unavailable
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, Index, parse_manifest
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change
from entrepot.server.backup.blob_copy import at_once
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.movement.importers.here import (
    Adoption,
    KnownRepository,
    TagHere,
    adopt,
    known_repository,
    link_known,
    live_copy,
)
from entrepot.server.movement.importers.origin import AbsentAtOrigin, ImportOrigin, Left, OriginContents
from entrepot.server.repos.errors import ContentMismatch
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.manifests import Manifests
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.store import BlobStore

__all__ = ["Carried", "Carrier", "decide_tag"]

BLOBS_AT_ONCE: Final = 4


@dataclass(slots=True)
class Carried:
    """What a run did, or would do."""

    repositories: int = 0
    manifests: int = 0
    """New here."""
    tags: int = 0
    """Made or moved."""
    blobs: int = 0
    bytes: int = 0
    """Of those blobs."""
    ways: Counter[str] = field(default_factory=Counter)
    """Blobs by how they came: linked, cloned, copied."""
    unchanged: int = 0
    """Manifests that were here before."""
    unused: int = 0
    """Blobs that no manifest refers to; nobody misses them."""
    left: list[Left] = field(default_factory=list)
    """What did not come, and why."""
    by_hand: list[Left] = field(default_factory=list)
    """What a person has to make again, since no API gives it away."""


class _TagMoved(Conflict):
    """Somebody pushed the tag while it was on its way."""

    code = "tag-moved-meanwhile"


class Carrier:
    """One run. `plan`: nothing is written, only counted; sizes are taken as the manifests say them."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        limits: RepositoryLimits,
        origin: ImportOrigin,
        actor: Actor,
        *,
        plan: bool = False,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._limits = limits
        self._origin = origin
        self._actor = actor
        self._plan = plan
        self._say = say
        self._manifests = Manifests(catalog, limits)
        self._blob_locks: dict[Digest, asyncio.Lock] = {}
        self._blobs_at_once = asyncio.Semaphore(BLOBS_AT_ONCE)
        self._planned = set[Digest]()
        self.report = Carried()

    async def run(self, projects: Sequence[str] = ()) -> Carried:
        """Everything, or the repositories of these projects (patterns).

        What can't come is in the report. Raises StorageFailed, CatalogUnavailable and what says that the
        origin is gone: what came until then stays.
        """
        await at_once(self._wanted(projects), self._repository)
        self.report.left.sort()
        return self.report

    async def _wanted(self, projects: Sequence[str]) -> AsyncGenerator[str, None]:
        async for found in self._origin.repositories():
            if isinstance(found, Left):
                self.report.left.append(found)
            elif not projects or any(fnmatch.fnmatchcase(found.partition("/")[0], one) for one in projects):
                yield found

    async def _repository(self, name: str) -> None:
        self._say(name)
        try:
            contents = await self._origin.contents(name)
        except EntrepotError as error:
            self._leave(name, error)
            return
        self.report.repositories += 1
        self.report.left += contents.left
        known = await self._catalog.read(known_repository, name)
        visit = _Visit(self, name, contents, known)
        await at_once(sorted({*contents.manifests, *contents.tags.values()}), visit.bring)
        if not visit.failed:
            self.report.unused += len(contents.blobs - visit.blobs)

    def _leave(self, what: str, error: EntrepotError) -> None:
        """Note what can't come. What ends the run goes on."""
        if isinstance(error, Unavailable) and not isinstance(error, RegistryFailed):
            raise error
        self.report.left.append(Left(what, error.message))

    async def _blob(self, repository: str, blob: Descriptor) -> None:
        """Raises AbsentAtOrigin, VerificationFailed and others."""
        await self._origin.require_blob(repository, blob)
        lock = self._blob_locks.setdefault(blob.digest, asyncio.Lock())
        async with lock:
            copy = await self._catalog.read(live_copy, str(blob.digest))
            good = copy is not None and copy[1] == blob.size and await self._store.size(copy[0]) == blob.size
            if self._plan:
                if not good and blob.digest not in self._planned:
                    self._planned.add(blob.digest)
                    self._count(blob, "to copy")
                return
            adoption = self._adoption(repository, blob, None if good or copy is None else copy[0])
            if good and await self._catalog.write(link_known, adoption):
                return
            async with self._blobs_at_once:
                phys, way = await self._origin.take(self._store, repository, blob)
            await self._adopt(adoption, phys)
            self._count(blob, way)

    def _count(self, blob: Descriptor, way: str) -> None:
        self.report.blobs += 1
        self.report.bytes += blob.size
        self.report.ways[way] += 1

    def _adoption(self, repository: str, blob: Descriptor, distrusted: str | None) -> Adoption:
        steady = self._catalog.clock.steady()
        return Adoption(
            repository=repository,
            digest=str(blob.digest),
            size=blob.size,
            distrusted=distrusted,
            actor=self._actor,
            now=self._catalog.clock.now(),
            steady=steady,
            lease_until=steady + microseconds(self._limits.lease_s),
            trash_delay=microseconds(self._limits.trash_delay_s),
        )

    async def _adopt(self, adoption: Adoption, phys: str) -> None:
        try:
            await self._catalog.write(adopt, adoption, phys)
        except Exception as error:
            if not getattr(error, "outcome_unknown", False):
                with suppress(StorageFailed):
                    await self._store.delete(phys)
            raise


class _Visit:
    """One repository's way here."""

    def __init__(self, run: Carrier, name: str, contents: OriginContents, known: KnownRepository) -> None:
        self._run = run
        self._name = name
        self._known = known
        self._report = run.report
        self._tags: dict[Digest, list[str]] = {}
        for tag, digest in sorted(contents.tags.items()):
            self._tags.setdefault(digest, []).append(tag)
        self._listed = {*contents.manifests, *contents.tags.values()}
        self._came = set[Digest]()
        self._begun: dict[Digest, asyncio.Future[None]] = {}
        self.blobs = set[Digest]()
        """What manifests refer to."""
        self.failed = False

    async def bring(self, digest: Digest) -> None:
        """A manifest with all that it needs, and its tags; once, however many ask."""
        begun = self._begun.get(digest)
        if begun is None:
            begun = self._begun[digest] = asyncio.ensure_future(self._bring(digest))
        await begun

    async def _bring(self, digest: Digest) -> None:
        what = f"{self._name}@{digest}"
        if tags := self._tags.get(digest):
            what += f" ({', '.join(tags[:3])}{' …' if len(tags) > 3 else ''})"
        try:
            await self._manifest(digest, what)
        except EntrepotError as error:
            self._fail(what, error)

    def _fail(self, what: str, error: EntrepotError) -> None:
        self.failed = True
        self._run._leave(what, error)

    async def _manifest(self, digest: Digest, what: str) -> None:
        run, state = self._run, self._known.manifests.get(str(digest))
        if state == "deleted":
            self._report.left.append(Left(what, "it was deleted here"))
            self.failed = True
            return
        if state == "live":
            found = await run._manifests.get(self._name, digest)
            raw, media_type = (found.raw, found.media_type) if found else (b"", "")
        if state is None or not raw:
            try:
                sent = await run._origin.manifest(self._name, digest)
            except AbsentAtOrigin:
                if digest in self._listed:
                    raise
                return  # what names it is told to lack it
            raw, media_type = sent.raw, sent.media_type
            if Digest.of(raw, digest.algorithm) != digest:
                raise ContentMismatch(digest, Digest.of(raw, digest.algorithm))
        parsed = parse_manifest(raw, media_type or None, limits=run._limits.manifest)
        blobs, children = parsed.references()
        self.blobs |= {blob.digest for blob in blobs}
        if state is None:
            await self._needed(parsed, blobs, children)
            await self._put(raw, media_type, digest)
            self._report.manifests += 1
        else:
            for child in children:
                await self.bring(child.digest)  # which may have been signed since
            await self._put_tags(raw, media_type, digest)
            self._report.unchanged += 1
        self._came.add(digest)
        for referrer in await run._origin.referrers(self._name, digest):
            await self.bring(referrer)

    async def _needed(
        self, parsed: ImageManifest | Index, blobs: Sequence[Descriptor], children: Sequence[Descriptor]
    ) -> None:
        """What the manifest refers to. What is not there is for the transaction to refuse, or to allow."""
        if isinstance(parsed, Index):
            for child in children:
                await self.bring(child.digest)
                if child.digest not in self._came and self._run._limits.sparse == "off":
                    raise AbsentAtOrigin(f"{child.digest}, which it names, did not come")
        for result in await asyncio.gather(
            *(self._run._blob(self._name, blob) for blob in blobs), return_exceptions=True
        ):
            if isinstance(result, BaseException) and not self._may_lack(result, parsed):
                raise result

    def _may_lack(self, error: BaseException, parsed: ImageManifest | Index) -> bool:
        sparse = self._run._limits.sparse
        return isinstance(error, AbsentAtOrigin) and (
            sparse == "all" or isinstance(parsed, Index)  # whose blobs may be manifests of unknown types
        )

    async def _put(self, raw: bytes, media_type: str, digest: Digest) -> None:
        if not self._run._plan:
            wanted = self._decided(digest)[: self._run._limits.tags_per_push]
            await self._store_manifest(raw, media_type, digest, wanted)
            for tag in wanted:
                self._known.tags[tag] = TagHere(str(digest), self._run._actor.name)
        await self._put_tags(raw, media_type, digest)

    async def _put_tags(self, raw: bytes, media_type: str, digest: Digest) -> None:
        wanted, most = self._decided(digest, tell=True), self._run._limits.tags_per_push
        if self._run._plan:
            self._report.tags += len(wanted)
            return
        for at in range(0, len(wanted), most):
            await self._store_manifest(raw, media_type, digest, wanted[at : at + most])

    async def _store_manifest(self, raw: bytes, media_type: str, digest: Digest, tags: Sequence[str]) -> None:
        seen = {tag: self._known.tags[tag].digest if tag in self._known.tags else None for tag in tags}

        def permit(_: Connection, change: Change) -> None:
            if change.tag in seen and change.old != seen[change.tag]:
                raise _TagMoved(f"tag {change.tag} was pushed here while it was on its way")

        await self._run._manifests.put(
            self._name,
            raw=raw,
            media_type=media_type or None,
            digest=digest,
            extra_tags=tags,
            actor=self._run._actor,
            permit=permit,
        )
        self._report.tags += len(tags)

    def _decided(self, digest: Digest, *, tell: bool = False) -> list[str]:
        """The manifest's tags that are to be made or moved."""
        wanted = []
        for tag in self._tags.get(digest, ()):
            reason = decide_tag(
                self._known.tags.get(tag), str(digest), tag in self._known.past_tags, self._run._actor.name
            )
            if reason is None:
                wanted.append(tag)
            elif reason and tell:
                self._report.left.append(Left(f"{self._name}:{tag}", reason))
        return wanted


def decide_tag(here: TagHere | None, there: str, has_past: bool, importer: str) -> str | None:
    """None: make or move it. Empty: it is as it should be. Else why it is left as it is here. Pure."""
    if here is None:
        return "it was deleted here" if has_past else None
    if here.digest == there:
        return ""
    return None if here.by == importer else f"it was pushed here by {here.by} since, and stays {here.digest}"
