"""What a pull from a proxy project is answered with: what is here, what the upstream has, or why neither.

Digests never ask: what is here under a digest is right for ever. A tag is what the upstream last said; its
word is good for `fresh`, then asked for again by HEAD, in the background at first (`stale`). While the
upstream can't be used, what is here is served with a `Warning`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

from entrepot.client.settings import proxies_of
from entrepot.content.protocols import ManifestBytes
from entrepot.errors import EntrepotError, InvalidInput
from entrepot.observability.logs import get_log
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import InvalidManifest
from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.access.secrets.sealing import SealKey
from entrepot.server.config.model import PullThroughSection
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.clock import microseconds
from entrepot.server.movement.upstreams import fetches, table
from entrepot.server.movement.upstreams.answers import Answers, TagAnswer
from entrepot.server.movement.upstreams.directory import UpstreamDirectory
from entrepot.server.movement.upstreams.errors import UpstreamMisbehaved
from entrepot.server.movement.upstreams.eviction import make_room
from entrepot.server.movement.upstreams.fill import Fill, FillGround, in_its_project, link
from entrepot.server.movement.upstreams.flights import Flights
from entrepot.server.movement.upstreams.model import Upstream
from entrepot.server.movement.upstreams.referrers import UpstreamReferrers
from entrepot.server.movement.upstreams.remote import Remote, client_settings
from entrepot.server.movement.upstreams.turns import one_of_all
from entrepot.server.repos.blobs import Blobs, StoredBlob
from entrepot.server.repos.errors import BlobUnknown, QuotaExceeded
from entrepot.server.repos.manifests import Manifests, StoredManifest
from entrepot.server.repos.uploads import RepositoryUploads
from entrepot.server.storage.store import BlobStore

__all__ = ["PullThrough", "Served"]

log = get_log(__name__)

WHOLE_BYTES: Final = 64 * 1024
"""A blob up to this size is answered once it is here: an error can then still be told."""
STATE_S: Final = 5.0
ROOM_S: Final = 60.0
"""How often room is made in one full project."""
_NOWHERE: Final = 0
"""The `repo_id` of what is only known of, not kept."""


@dataclass(frozen=True, slots=True)
class Served:
    """A manifest, and what is to be said of it in a `Warning`."""

    manifest: StoredManifest
    warning: str | None = None


class PullThrough:
    """One for each process. Costs nothing while nobody asks for what is in proxy projects."""

    def __init__(
        self,
        catalog: Catalog,
        store: BlobStore,
        manifests: Manifests,
        blobs: Blobs,
        uploads: RepositoryUploads,
        *,
        settings: PullThroughSection,
        blob_bytes: int,
        undo_window_s: float,
        seal: Callable[[], SealKey],
    ) -> None:
        self.directory = UpstreamDirectory(catalog)
        self._catalog = catalog
        self._store = store
        self._manifests = manifests
        self._blobs = blobs
        self._uploads = uploads
        self._settings = settings
        self._blob_bytes = blob_bytes
        self._undo_window_s = undo_window_s
        self._seal = seal
        self._answers = Answers(catalog)
        self.referrers = UpstreamReferrers(
            self.directory,
            lambda upstream, repository, subject: self._remote(upstream).list_referrers(repository, subject),
            fresh_s=settings.fresh,
            patience_s=settings.patience,
        )
        self._remotes: dict[int, Remote] = {}
        self._threads: ThreadPoolExecutor | None = None
        self._ground: FillGround | None = None
        self._fills: dict[tuple[int, str], Fill] = {}
        self._flights = Flights()
        self._absent: dict[tuple[str, str, str], float] = {}
        self._room_made: dict[int, float] = {}
        self._told: dict[int, tuple[float, str | None]] = {}

    async def close(self) -> None:
        """Fetches under way stop; another process goes on with them."""
        await self._flights.close()
        for remote in self._remotes.values():
            remote.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # Names

    async def name_for(self, repository: str, namespace: str | None) -> str:
        """Our name for what a client of a mirror asks for: `library/nginx` of docker.io is
        `hub/library/nginx`. Names of projects that are here stay as they are.
        """
        if namespace is not None:
            found = await self.directory.by_registry(namespace)
            return repository if found is None else f"{found.project}/{repository}"
        whole = self.directory.whole
        if whole is None or await self.directory.is_local(repository.partition("/")[0]):
            return repository
        return f"{whole.project}/{repository}"

    # Manifests

    async def manifest(
        self, repository: str, wanted: str | Digest, found: StoredManifest | None, *, content: bool
    ) -> Served | None:
        """For a repository of a proxy project; `found` is what is here under that name. Without `content`
        (HEAD) nothing is fetched, and the bytes may be missing from the answer.

        Raises UpstreamRefused, UpstreamBusy, UpstreamUnreachable, UpstreamMisbehaved when it is not here.
        """
        upstream = await self.directory.of(repository)
        if upstream is None:
            return None if found is None else Served(found)
        upstream.require_fetched(repository)
        if not isinstance(wanted, Digest):
            return await self._tag(upstream, repository, wanted, found, content=content)
        if found is not None:
            return Served(found)
        return await self._by_digest(upstream, repository, wanted, content=content)

    async def _by_digest(
        self, upstream: Upstream, repository: str, digest: Digest, *, content: bool
    ) -> Served | None:
        if self._is_absent("manifest", repository, digest):
            return None
        if content:
            kept = await self._kept(upstream, repository, digest)
            found = None if kept is None else Served(kept)
        else:
            there = await self._remote(upstream).find_manifest(repository, digest)
            found = None if there is None else Served(_known(there.digest, there.media_type, there.size))
        if found is None:
            self._note_absent("manifest", repository, digest)
        return found

    async def _tag(
        self,
        upstream: Upstream,
        repository: str,
        tag: str,
        found: StoredManifest | None,
        *,
        content: bool,
    ) -> Served | None:
        asking = self._compared(upstream, repository, tag, found, content=content)
        if found is None:
            return await asking
        try:
            async with asyncio.timeout(self._settings.patience):
                return await asking
        except TimeoutError:  # what is under way goes on, for those who come later
            reason = f"it has not answered within {self._settings.patience:g} s"
        except EntrepotError as error:
            reason = error.message
        return Served(found, f"not compared with {upstream.registry}: {reason}")

    async def _compared(
        self,
        upstream: Upstream,
        repository: str,
        tag: str,
        found: StoredManifest | None,
        *,
        content: bool,
    ) -> Served | None:
        """What is here, if it still is what the upstream has; else that."""
        answer = await self._answer(upstream, repository, tag, found)
        if answer.digest is None:
            if found is not None and self._settings.serve_gone:
                return Served(found, f"{upstream.registry} has no {tag} any more")
            return None
        if found is not None and found.digest == answer.digest:
            return Served(found)
        if not content:
            return Served(_known(answer.digest, answer.media_type, answer.size))
        left = self._remote(upstream).budget.get("remaining")
        if found is not None and left is not None and left <= self._settings.reserve:
            return Served(found, f"{upstream.registry} has moved {tag}, and allows {left} pulls more")
        kept = await self._kept(upstream, repository, answer.digest, tag)
        if kept is not None:
            return Served(kept)
        # It moved on between the two questions.
        self._answers.forget(upstream.project_id, repository, tag)
        return None if found is None else Served(found, f"{upstream.registry} has moved {tag} just now")

    async def _answer(
        self, upstream: Upstream, repository: str, tag: str, found: StoredManifest | None
    ) -> TagAnswer:
        """What the tag is there. Raises why that can't be known."""
        now = self._catalog.clock.now()
        since = now - microseconds(self._settings.fresh)
        answer = await self._answers.find(upstream.project_id, repository, tag, since=since)
        if answer is not None:
            if answer.digest is None:
                since = now - microseconds(self._settings.negative)
            if answer.checked_at >= since:
                return answer
        key = ("head", repository, tag)
        if (
            found is not None
            and answer is not None
            and answer.digest is not None
            and answer.checked_at >= now - microseconds(self._settings.stale)
        ):
            if self._remote(upstream).trouble(repository) is None:
                self._flights.fly(key, lambda: self._refreshed(upstream, repository, tag))
            return answer
        return await self._flights.join(key, lambda: self._asked(upstream, repository, tag))

    async def _asked(self, upstream: Upstream, repository: str, tag: str) -> TagAnswer:
        try:
            there = await self._remote(upstream).find_manifest(repository, tag)
        finally:
            await self._tell_state(upstream)
        now = self._catalog.clock.now()
        if there is None:
            answer = TagAnswer(None, "", 0, now)
        else:
            answer = TagAnswer(there.digest, there.media_type, there.size, now)
        with contextlib.suppress(
            EntrepotError
        ):  # a catalog that takes no changes now: it is only asked again
            await self._answers.save(upstream.project_id, repository, tag, answer)
        return answer

    async def _refreshed(self, upstream: Upstream, repository: str, tag: str) -> TagAnswer:
        """In the background: the tag as it is there, fetched when it has moved."""
        answer = await self._asked(upstream, repository, tag)
        left = self._remote(upstream).budget.get("remaining")
        if answer.digest is not None and (left is None or left > self._settings.reserve):
            here = await self._manifests.head(repository, tag)
            if here is None or here.digest != answer.digest:
                await self._kept(upstream, repository, answer.digest, tag)
        return answer

    async def _kept(
        self, upstream: Upstream, repository: str, digest: Digest, tag: str | None = None
    ) -> StoredManifest | None:
        """The manifest, kept here by now under its tag if the project has room for it. None when the upstream
        has no such digest.
        """
        here: StoredManifest | None = await self._manifests.get(repository, digest)
        if here is None:
            key = ("get", repository, digest)
            here = await self._flights.join(key, lambda: self._fetched(upstream, repository, digest, tag))
        if here is not None and here.repo_id != _NOWHERE and tag is not None:
            tagged = await self._manifests.head(repository, tag)
            if tagged is None or tagged.digest != digest:
                await self._put(repository, ManifestBytes(here.raw, here.media_type, digest), (tag,))
        return here

    async def _fetched(
        self, upstream: Upstream, repository: str, digest: Digest, tag: str | None
    ) -> StoredManifest | None:
        """One process of all asks for it."""

        async def is_here() -> bool:
            return await self._manifests.head(repository, digest) is not None

        async with one_of_all(
            self._catalog, upstream.project_id, f"{repository}@{digest}", is_here
        ) as has_to:
            if has_to:
                try:
                    found = await self._remote(upstream).get_manifest(repository, digest)
                finally:
                    await self._tell_state(upstream)
                if found is None:
                    return None
                tags = await self._answers.tags_at(upstream.project_id, repository, digest)
                try:
                    await self._put(repository, found, tuple(dict.fromkeys((*([tag] if tag else ()), *tags))))
                except QuotaExceeded:
                    self._make_room(upstream, len(found.raw))
                    known = _known(found.digest, found.media_type, len(found.raw))
                    return replace(known, raw=found.raw)
        return await self._manifests.get(repository, digest)

    async def _put(self, repository: str, found: ManifestBytes, tags: tuple[str, ...]) -> None:
        try:
            await self._manifests.put(
                repository,
                raw=found.raw,
                media_type=found.media_type,
                digest=found.digest,
                extra_tags=tags[:10],
                sparse="all",
                actor=SYSTEM,
                permit=in_its_project,
            )
        except (InvalidManifest, InvalidInput) as error:
            raise UpstreamMisbehaved(
                f"what the upstream of {repository} sent is no manifest that can be kept: {error.message}"
            ) from error

    # Blobs

    async def blob(self, repository: str, digest: Digest) -> StoredBlob | Fill | None:
        """A blob that the repository does not have yet: on its way, or here by now. None: it is nowhere.

        Raises as `manifest` does, and StorageFailed.
        """
        upstream = await self.directory.of(repository)
        if upstream is None or self._is_absent("blob", repository, digest):
            return None
        upstream.require_fetched(repository)
        fill = self._fills.get((upstream.project_id, str(digest)))
        if fill is None or fill.repository != repository:
            shared = await self._shared(upstream, repository, digest, fill)
            if shared is not None:
                return shared
        if fill is None:
            fill = self._begun(upstream, repository, digest)
        try:
            size = await fill.opened()
            if not fill.kept:
                self._make_room(upstream, size)
                return fill
            return fill if size > WHOLE_BYTES else await fill.done()
        except BlobUnknown:
            self._note_absent("blob", repository, digest)
            return None

    async def blob_size(self, repository: str, digest: Digest) -> int | None:
        """For HEAD: nothing is fetched. Raises as `blob`."""
        upstream = await self.directory.of(repository)
        if upstream is None or self._is_absent("blob", repository, digest):
            return None
        upstream.require_fetched(repository)
        size = await self._remote(upstream).find_blob(repository, digest)
        if size is None:
            self._note_absent("blob", repository, digest)
        return size

    async def _shared(
        self, upstream: Upstream, repository: str, digest: Digest, fill: Fill | None
    ) -> StoredBlob | Fill | None:
        """What another repository of the project has, or is being given. The upstream is asked whether this
        one has it too: who may pull from one need not be allowed to pull from the other.
        """
        rows = await self._catalog.hot(fetches.LANDED, p_project=upstream.project_id, p_digest=str(digest))
        if not rows and fill is None:
            return None
        if await self._remote(upstream).find_blob(repository, digest) is None:
            raise BlobUnknown(repository, digest)
        if fill is not None and not rows:
            self._flights.spawn(self._link_after(fill, repository))
            await fill.opened()
            return fill
        return await link(self._blobs, repository, digest, rows[0][0])

    async def _link_after(self, fill: Fill, repository: str) -> None:
        with contextlib.suppress(EntrepotError):
            await fill.done()
            await link(self._blobs, repository, fill.digest, fill.repository)

    def _begun(self, upstream: Upstream, repository: str, digest: Digest) -> Fill:
        key = (upstream.project_id, str(digest))
        fill = self._fills[key] = Fill(self._fill_ground(), self._remote(upstream), repository, digest)
        task = self._flights.spawn(fill.run())
        task.add_done_callback(lambda _: self._fills.pop(key, None))
        return fill

    def _make_room(self, upstream: Upstream, wanted: int) -> None:
        """In the background, for those who come later; now and then."""
        now = asyncio.get_running_loop().time()
        if now < self._room_made.get(upstream.project_id, 0.0):
            return
        self._room_made[upstream.project_id] = now + ROOM_S

        async def make() -> None:
            clock = self._catalog.clock
            with contextlib.suppress(EntrepotError):
                gone = await self._catalog.write(
                    make_room,
                    upstream.project_id,
                    wanted,
                    clock.now(),
                    clock.steady(),
                    microseconds(self._undo_window_s),
                )
                log.info("proxy project is full", project=upstream.project, manifests_removed=gone)

        self._flights.spawn(make())

    # What this process holds

    @property
    def fetching(self) -> int:
        """Blobs on their way by this process."""
        return len(self._fills)

    def _remote(self, upstream: Upstream) -> Remote:
        known = self._remotes.get(upstream.project_id)
        if known is not None and known.upstream == upstream:
            return known
        if known is not None:
            known.close()
        proxies, no_proxy = proxies_of(os.environ)
        made = Remote(
            upstream,
            table.open_password(upstream, self._seal()) if upstream.sealed is not None else "",
            client_settings(
                timeout_s=self._settings.timeout, inside=upstream.inside, proxies=proxies, no_proxy=no_proxy
            ),
            self._pool(),
            pause_s=self._settings.negative,
        )
        self._remotes[upstream.project_id] = made
        return made

    def _pool(self) -> ThreadPoolExecutor:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(self._settings.fetches + 16, "upstream")
        return self._threads

    def _fill_ground(self) -> FillGround:
        if self._ground is None:
            self._ground = FillGround(
                catalog=self._catalog,
                store=self._store,
                blobs=self._blobs,
                uploads=self._uploads,
                threads=self._pool(),
                turns=asyncio.Semaphore(self._settings.fetches),
                blob_bytes=self._blob_bytes,
                timeout_s=self._settings.timeout,
            )
        return self._ground

    def _is_absent(self, kind: str, repository: str, digest: Digest) -> bool:
        until = self._absent.get((kind, repository, str(digest)))
        return until is not None and asyncio.get_running_loop().time() < until

    def _note_absent(self, kind: str, repository: str, digest: Digest) -> None:
        if len(self._absent) > 10_000:
            self._absent.clear()
        until = asyncio.get_running_loop().time() + self._settings.negative
        self._absent[kind, repository, str(digest)] = until

    async def _tell_state(self, upstream: Upstream) -> None:
        """Note for who looks what the upstream said last: at once when it fails or works again, else now and
        then.
        """
        now = asyncio.get_running_loop().time()
        remote = self._remote(upstream)
        failure = remote.state.get("failure")
        told_at, told = self._told.get(upstream.project_id, (-STATE_S, None))
        if now - told_at < STATE_S and failure == told:
            return
        self._told[upstream.project_id] = (now, failure)
        facts: dict[str, Any] = {**remote.state, **remote.budget}
        with contextlib.suppress(EntrepotError):
            await self._catalog.write(
                table.note_state,
                upstream.project_id,
                table.UpstreamState(**facts),
                durable=False,
                brief=True,
            )


def _known(digest: Digest, media_type: str, size: int) -> StoredManifest:
    return StoredManifest(digest, media_type, size, _NOWHERE, proxied=True)
