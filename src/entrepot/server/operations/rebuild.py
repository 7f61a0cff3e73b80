"""The last way back: no catalog, no backup, only blobs. What can they tell?

Layers and configs are blobs, manifests and names are not. But a config lists the digests of its layers
*uncompressed*, so reading every blob once, unpacked on the way, finds which layers make which image. Each
comes back as `recovered/images:<first digits of its config's digest>` with the image ID that docker showed;
its manifest is a new one, so its digest, its tags and its repository are not what they were.
"""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import msgspec
from isal import igzip_lib, isal_zlib
from sqlalchemy import Connection
from zstandard import ZstdDecompressor, ZstdError

from entrepot.errors import EntrepotError
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.manifest import ImageManifest, build_manifest
from entrepot.oci.reference import parse_tag
from entrepot.server.db.engine import Catalog
from entrepot.server.db.settings import set_identity
from entrepot.server.operations.errors import TargetInUse
from entrepot.server.operations.rows import count_rows
from entrepot.server.repos.changes import Actor, allow_all
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.links import StoredBytes, adopt_blob, find_blob, link_blob
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.rows import ensure_repository
from entrepot.server.storage.base import BlobStore, StoredObject

__all__ = ["REPOSITORY", "Rebuilt", "rebuild"]

REPOSITORY: Final = "recovered/images"
_CONFIG_BYTES: Final = 4 << 20
_ACTOR: Final = Actor(principal="rebuild", kind="system")
_ISAL: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub names an instance
_BROKEN: Final = (zlib.error, _ISAL, ZstdError, EOFError)
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_LAYER_TYPES: Final = {
    "gzip": mediatype.OCI_LAYER_GZIP,
    "zstd": mediatype.OCI_LAYER_ZSTD,
    "": mediatype.OCI_LAYER,
}


@dataclass(slots=True)
class Rebuilt:
    """What blobs told."""

    objects: int = 0
    images: list[str] = field(default_factory=list)
    """`recovered/images:…`"""
    incomplete: list[str] = field(default_factory=list)
    """Digests of configs whose layers are not all there."""
    unused: int = 0
    """Objects that belong to no image; they stay where they are."""


@dataclass(frozen=True, slots=True)
class _Found:
    """One stored object, read."""

    digest: Digest
    phys: str
    size: int
    compression: str
    diff_id: str
    config: dict[str, Any] | None


async def rebuild(
    catalog: Catalog, store: BlobStore, *, say: Callable[[str], None] = lambda _: None
) -> Rebuilt:
    """Fill an empty catalog from what `store` holds, and bind both to each other.

    Every object is read once. Nothing in the store is removed. Raises TargetInUse.
    """
    if await catalog.read(count_rows) > 0:
        raise TargetInUse("the catalog is not empty", hint="name an empty one; this one knows more")
    marked = await store.read_identity()
    store_id, epoch = (marked.store_id, marked.epoch + 1) if marked else (secrets.token_hex(16), 1)
    report, layers, configs = Rebuilt(), dict[str, _Found](), list[_Found]()
    async with aclosing(store.list()) as objects:
        async for one in objects:
            report.objects += 1
            if report.objects % 1000 == 0:
                say(f"read {report.objects} objects")
            with suppress(EntrepotError):  # an object that can't be read tells nothing
                found = await _read(store, one)
                if found.config is not None:
                    configs.append(found)
                layers.setdefault(found.diff_id, found)
    await catalog.write(set_identity, store_id, epoch)
    await store.write_identity(store_id, epoch)
    manifests, used = Manifests(catalog, store, RepositoryLimits()), set[str]()
    for config in sorted(configs, key=lambda one: one.digest):
        assert config.config is not None
        parts = [layers.get(diff_id) for diff_id in config.config["rootfs"]["diff_ids"]]
        complete = [part for part in parts if part is not None]
        if len(complete) < len(parts):
            report.incomplete.append(str(config.digest))
            continue
        tag = await _bring_back(catalog, manifests, config, complete)
        report.images.append(f"{REPOSITORY}:{tag}")
        used.update(part.phys for part in (config, *complete))
    report.unused = report.objects - len(used)
    return report


async def _bring_back(catalog: Catalog, manifests: Manifests, config: _Found, layers: list[_Found]) -> str:
    made = _manifest(config, layers)
    distinct = {part.digest: part for part in (config, *layers)}
    await catalog.write(
        _adopt, [distinct[digest] for digest in sorted(distinct)], catalog.clock.now(), catalog.clock.steady()
    )
    tag = config.digest.hex[:12]
    await manifests.put(
        REPOSITORY,
        raw=made.raw,
        media_type=made.media_type,
        tag=parse_tag(tag),
        digest=None,
        actor=_ACTOR,
        permit=allow_all,
    )
    return tag


def _manifest(config: _Found, layers: list[_Found]) -> ImageManifest:
    return build_manifest(
        Descriptor(media_type=mediatype.OCI_CONFIG, digest=config.digest, size=config.size),
        [
            Descriptor(media_type=_LAYER_TYPES[part.compression], digest=part.digest, size=part.size)
            for part in layers
        ],
    )


def _adopt(connection: Connection, parts: list[_Found], now: int, steady: int) -> None:
    row = ensure_repository(connection, REPOSITORY, actor=_ACTOR, permit=allow_all, at=now)
    lease = steady + int(RepositoryLimits().lease_s * 1_000_000)
    for part in parts:
        stored = StoredBytes(str(part.digest), part.size, part.phys)
        if find_blob(connection, stored.digest) is None:
            adopt_blob(connection, stored, distrusted=None, lease_until=lease, now=steady, trash_delay=0)
        link_blob(connection, row, stored.digest, stored.size, at=now)


class _Unpacker(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...


class _Reader:
    """Hashes an object as it is and unpacked."""

    def __init__(self) -> None:
        self.packed = Hasher()
        self._plain = Hasher()
        self._unpacker: _Unpacker | None = None
        self._broken = False
        self.compression = ""
        self.start = bytearray()

    def take(self, data: bytes) -> None:
        if not self.packed.size:
            self._begin(data)
        self.packed.update(data)
        if len(self.start) <= _CONFIG_BYTES:
            self.start += data
        if self._unpacker is not None and not self._broken:
            try:
                self._plain.update(self._unpack(data))
            except _BROKEN:
                self._broken = True

    @property
    def diff_id(self) -> str:
        """The digest of the uncompressed layer."""
        if self._unpacker is None or self._broken:
            return str(self.packed.digest())
        return str(self._plain.digest())

    def _begin(self, data: bytes) -> None:
        if data.startswith(_GZIP):
            self.compression, self._unpacker = "gzip", isal_zlib.decompressobj(31)
        elif data.startswith(_ZSTD):
            self.compression = "zstd"
            self._unpacker = ZstdDecompressor().decompressobj(read_across_frames=True)

    def _unpack(self, data: bytes) -> bytes:
        assert self._unpacker is not None
        plain = self._unpacker.decompress(data)
        # Some tools write a layer as several gzip members, one behind the other.
        while self.compression == "gzip" and (rest := getattr(self._unpacker, "unused_data", b"")):
            self._unpacker = isal_zlib.decompressobj(31)
            plain += self._unpacker.decompress(rest)
        return plain


async def _read(store: BlobStore, stored: StoredObject) -> _Found:
    reader = _Reader()
    async with aclosing(await store.open(stored.phys, 0, stored.size)) as pieces:
        async for piece in pieces:
            await asyncio.to_thread(reader.take, bytes(piece))
    return _Found(
        digest=reader.packed.digest(),
        phys=stored.phys,
        size=stored.size,
        compression=reader.compression,
        diff_id=reader.diff_id,
        config=_as_config(bytes(reader.start)),
    )


def _as_config(data: bytes) -> dict[str, Any] | None:
    """The document when `data` is an image's config. Pure."""
    if not data.startswith(b"{") or len(data) > _CONFIG_BYTES:
        return None
    try:
        document: Any = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    rootfs = document.get("rootfs") if isinstance(document, dict) else None
    ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(ids, list) or not all(isinstance(one, str) for one in ids):
        return None
    return dict(document)
