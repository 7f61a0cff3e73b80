"""Makes lists of layers and views of images that have none, one after the other.

Each layer is read once, whoever has it, and each image's lists are laid on each other once. What can't be
read is recorded with its reason and not tried again until the format changes. A run that is cut off leaves
whole rows or none: an object without a row is swept a day later.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from entrepot.errors import InvalidInput, NotFound
from entrepot.inventory.files.process import Limits, ReadRequest
from entrepot.inventory.files.stored import head_length, list_end
from entrepot.observability.logs import get_log
from entrepot.oci.manifest import ImageManifest, parse_manifest
from entrepot.server.db.catalog import Catalog
from entrepot.server.insight import records
from entrepot.server.insight.reading import ContentUnreadable, read_apart
from entrepot.server.insight.records import IMAGE_FILES, LAYER_FILES, Derived, ImageToRead
from entrepot.server.storage.errors import BlobMissing
from entrepot.server.storage.store import BlobStore

__all__ = ["IndexSettings", "Indexer", "NotStored"]

log = get_log(__name__)

BATCH: Final = 20
BEHIND: Final = 1000
"""Ids that are looked at again each time: a push that took long commits after later ones."""
ALL_AGAIN_S: Final = 24 * 3600.0
"""Every so often all images are looked at, not only the latest."""
ORPHAN_AGE_S: Final = 24 * 3600.0
MAX_KEPT_BYTES: Final = 256 << 20
"""Of one list or view: it is held in memory once, while it is stored."""


class NotStored(NotFound):
    """A layer of the image is not in the registry."""

    code = "not-stored"


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """What `[insight]` says."""

    max_layer_bytes: int
    skip_projects: tuple[str, ...]
    memory_bytes: int
    timeout_s: float

    @property
    def limits(self) -> Limits:
        return Limits(self.memory_bytes, int(self.timeout_s))


class Indexer:
    """One per process that takes jobs; remembers how far it has looked."""

    def __init__(self, catalog: Catalog, store: BlobStore, settings: IndexSettings) -> None:
        self._catalog = catalog
        self._store = store
        self._settings = settings
        self._after = 0
        self._all_again_at = 0.0

    async def run(self) -> Mapping[str, Any]:
        """Make everything that is missing. Raises StorageFailed, CatalogUnavailable: it goes on later."""
        images = failed = 0
        whole = time.monotonic() >= self._all_again_at
        after = 0 if whole else self._after
        newest = await self._catalog.read(records.newest)
        while batch := await self._read(records.waiting, after=after, n=BATCH):
            for image in {image.digest: image for image in batch}.values():
                made = await self._make(image)
                images, failed = (
                    images + (made is not None),
                    failed + (made is None or made.state == "failed"),
                )
            after = batch[-1].id
        self._after = max(0, newest - BEHIND)
        swept = 0
        if whole:
            swept = await self.sweep()
            self._all_again_at = time.monotonic() + ALL_AGAIN_S
        return {"images": images, "failed": failed, "swept": swept} if images or swept else {}

    async def _make(self, image: ImageToRead) -> Derived | None:
        """None for an image whose layers are not all here: they may still come."""
        try:
            made = await self._view(image)
        except (NotStored, BlobMissing) as error:
            log.info("files not listed yet", image=image.digest, reason=error.message)
            return None
        except InvalidInput as error:
            log.info("files not listed", image=image.digest, reason=error.message)
            made = Derived(IMAGE_FILES, image.digest, "failed", None, 0, error.message, {})
        await self._record(made)
        return made

    async def _view(self, image: ImageToRead) -> Derived:
        if any(fnmatchcase(image.project, pattern) for pattern in self._settings.skip_projects):
            return _skipped(image, "the registry's settings leave this project out")
        manifest = parse_manifest(image.body, None)
        if not isinstance(manifest, ImageManifest):
            return _skipped(image, "it is no image")
        largest = max((layer.size for layer in manifest.layers), default=0)
        if largest > self._settings.max_layer_bytes:
            return _skipped(image, "a layer is larger than the registry's settings look into")
        digests = [str(layer.digest) for layer in manifest.layers]
        encrypted = any("encrypted" in layer.media_type for layer in manifest.layers)
        if encrypted:
            return _skipped(image, "a layer is encrypted")
        lists = [await self._list(digest) for digest in digests]
        request = ReadRequest(self._settings.limits, lists=[made.bytes for made in lists])
        data = await self._collect("view", request, self._joined(lists))
        detail = {"head": head_length(data[:9])}
        name = await self._store.put_derived(data)
        return Derived(IMAGE_FILES, image.digest, "ready", name, len(data), None, detail)

    async def _list(self, digest: str) -> Derived:
        known: Derived | None = (await self._read(records.find, LAYER_FILES, [digest])).get(digest)
        if known is None:
            known = await self._read_layer(digest)
            await self._record(known)
        if known.state != "ready":
            raise ContentUnreadable(f"layer {digest}: {known.reason}")
        return known

    async def _read_layer(self, digest: str) -> Derived:
        stored = (await self._read(records.layers_of, [digest])).get(digest)
        if stored is None:
            raise NotStored(f"layer {digest} is not in the registry")
        phys, _size = stored
        try:
            data = await self._collect("list", ReadRequest(self._settings.limits), self._blob(phys))
        except ContentUnreadable as error:
            return Derived(LAYER_FILES, digest, "failed", None, 0, error.message, {})
        end = list_end(data)
        name = await self._store.put_derived(data)
        detail = {"diff_id": end.diff_id, "entries": end.entries, "tar_bytes": end.tar_bytes}
        return Derived(LAYER_FILES, digest, "ready", name, len(data), None, detail)

    async def _collect(self, mode: str, request: ReadRequest, content: AsyncIterable[bytes]) -> bytes:
        pieces, size = list[bytes](), 0
        async with aclosing(read_apart(mode, request, content, timeout_s=self._settings.timeout_s)) as answer:
            async for piece in answer:
                size += len(piece)
                if size > MAX_KEPT_BYTES:
                    raise ContentUnreadable(f"its list of files is longer than {MAX_KEPT_BYTES >> 20} MiB")
                pieces.append(piece)
        return b"".join(pieces)

    async def _blob(self, phys: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(await self._store.open(phys)) as stream:
            async for piece in stream:
                yield piece

    async def _joined(self, lists: Sequence[Derived]) -> AsyncGenerator[bytes, None]:
        for made in lists:
            try:
                stream = await self._store.open_derived(made.object or "")
            except BlobMissing:
                # Somebody has removed it, as anybody may, and others with it: made again with the next run.
                await self._write(records.forget, LAYER_FILES, [each.digest for each in lists])
                raise
            async with aclosing(stream):
                async for piece in stream:
                    yield piece

    async def _record(self, made: Derived) -> None:
        old = await self._write(records.record, made, self._catalog.clock.now())
        if old:
            await self._store.delete_derived([old])

    async def sweep(self) -> int:
        """Remove what was made of content that is gone, and objects that no row knows of."""
        count = 0
        while found := await self._read(records.gone, n=BATCH):
            for each in found:
                await self._write(records.forget, each.kind, [each.digest])
            await self._store.delete_derived([each.object for each in found if each.object])
            count += len(found)
        since = time.time() - ORPHAN_AGE_S
        async with aclosing(self._store.list_derived()) as listed:
            old = [stored.phys async for stored in listed if stored.mtime < since]
        for start in range(0, len(old), 500):
            part = old[start : start + 500]
            orphans = sorted(set(part) - await self._read(records.objects, part))
            await self._store.delete_derived(orphans)
            count += len(orphans)
        return count

    async def _read(self, see: Any, *args: Any, **more: Any) -> Any:
        def run(connection: Any) -> Any:
            return see(connection, *args, **more)

        run.__qualname__ = see.__qualname__
        return await self._catalog.read(run)

    async def _write(self, do: Any, *args: Any) -> Any:
        def run(connection: Any) -> Any:
            return do(connection, *args)

        run.__qualname__ = do.__qualname__
        return await self._catalog.write(run, durable=False)


def _skipped(image: ImageToRead, reason: str) -> Derived:
    return Derived(IMAGE_FILES, image.digest, "skipped", None, 0, reason, {})
