"""The last way back: no catalog, no backup, only blobs. What can they tell?

Layers and configs are blobs, manifests and names are not. But a config lists the digests of its layers
*uncompressed*, so reading every blob once, unpacked on the way, finds which layers make which image. Each
comes back as `recovered/images:<first digits of its config's digest>` with the image ID that docker showed;
its manifest is a new one, so its digest, its tags and its repository are not what they were.
"""

from __future__ import annotations

import asyncio
import secrets
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import aclosing, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Protocol

import msgspec
from isal import igzip_lib, isal_zlib
from sqlalchemy import Connection
from zstandard import ZstdDecompressor, ZstdError

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.manifest import ImageManifest, build_manifest
from entrepot.oci.reference import parse_tag
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import allow_all
from entrepot.server.access.decision.model import Principal, PrincipalKind
from entrepot.server.backup.blob_copy import at_once
from entrepot.server.backup.errors import TargetInUse
from entrepot.server.backup.rows import count_rows
from entrepot.server.db.catalog import Catalog
from entrepot.server.db.settings import set_identity
from entrepot.server.repos.limits import RepositoryLimits
from entrepot.server.repos.links import StoredBytes, adopt_blob, find_blob, link_blob
from entrepot.server.repos.manifests import Manifests
from entrepot.server.repos.rows import ensure_repository
from entrepot.server.storage.driver import StoredObject
from entrepot.server.storage.store import BlobStore

__all__ = ["REPOSITORY", "Rebuilt", "rebuild"]

REPOSITORY: Final = "recovered/images"
_CONFIG_BYTES: Final = 4 << 20
_ACTOR: Final = Actor(Principal(kind=PrincipalKind.SYSTEM, name="rebuild"))
_ISAL: Final[type[Exception]] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub names an instance
_BROKEN: Final = (zlib.error, _ISAL, ZstdError, EOFError)
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MOUTHFUL: Final = {"": 1 << 20, "gzip": 1 << 15, "zstd": 1 << 11}
"""Bytes unpacked at once: a bomb makes at most 1 000 (gzip) or 33 000 (zstd) times as many of them."""
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
    """Digests of configs whose layers are not all there, or that are no image."""
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
    is_config: bool


async def rebuild(
    catalog: Catalog, store: BlobStore, *, say: Callable[[str], None] = lambda _: None
) -> Rebuilt:
    """Fill an empty catalog from what `store` holds, and bind both to each other.

    Every object is read once, configs twice. Nothing in the store is removed. Raises TargetInUse.
    """
    if await catalog.read(count_rows) > 0:
        raise TargetInUse("the catalog is not empty", hint="name an empty one; this one knows more")
    marked = await store.read_identity()
    store_id, epoch = (marked.store_id, marked.epoch + 1) if marked else (secrets.token_hex(16), 1)
    report = Rebuilt()
    with closing(_Findings()) as findings:
        async with aclosing(store.list()) as objects:
            await at_once(objects, partial(_look, store, findings, report, say))
        await catalog.write(set_identity, store_id, epoch)
        await store.write_identity(store_id, epoch)
        manifests = Manifests(catalog)
        for config in findings.configs():
            layers = await _layers_of(store, config, findings)
            if layers is None:
                report.incomplete.append(str(config.digest))
                continue
            try:
                tag = await _bring_back(catalog, manifests, config, layers)
            except InvalidInput as error:  # it would not be taken when pushed, either
                report.incomplete.append(f"{config.digest} ({error.message})")
                continue
            report.images.append(f"{REPOSITORY}:{tag}")
            findings.use([config, *layers])
        report.unused = report.objects - findings.count_used()
    return report


async def _look(
    store: BlobStore,
    findings: _Findings,
    report: Rebuilt,
    say: Callable[[str], None],
    one: StoredObject,
) -> None:
    report.objects += 1
    if report.objects % 1000 == 0:
        say(f"read {report.objects} objects")
    with suppress(EntrepotError):  # an object that can't be read tells nothing
        findings.add(await _read(store, one))


async def _layers_of(store: BlobStore, config: _Found, findings: _Findings) -> list[_Found] | None:
    """In order; None when one is missing."""
    async with aclosing(await store.open(config.phys, 0, config.size)) as pieces:
        ids = _diff_ids(b"".join([bytes(piece) async for piece in pieces])) or []
    found = [findings.find(diff_id) for diff_id in ids]
    complete = [layer for layer in found if layer is not None]
    return complete if len(complete) == len(found) else None


class _Findings:
    """What objects are, in a temporary file: there may be millions."""

    def __init__(self) -> None:
        self._file = sqlite3.connect("", isolation_level=None)
        self._file.execute(
            "CREATE TABLE found (phys TEXT PRIMARY KEY, digest TEXT, size INTEGER, compression TEXT,"
            " diff_id TEXT, is_config INTEGER, used INTEGER DEFAULT 0)"
        )
        self._file.execute("CREATE INDEX by_diff_id ON found (diff_id)")

    def add(self, found: _Found) -> None:
        row = (found.phys, str(found.digest), found.size, found.compression, found.diff_id, found.is_config)
        self._file.execute("INSERT INTO found VALUES (?, ?, ?, ?, ?, ?, 0)", row)

    def configs(self) -> Iterator[_Found]:
        """Each digest once, in order."""
        for row in self._file.execute(_CONFIGS):
            yield _found(row)

    def find(self, diff_id: str) -> _Found | None:
        """A layer by its uncompressed digest."""
        row = self._file.execute(_LAYER, (diff_id,)).fetchone()
        return None if row is None else _found(row)

    def use(self, parts: list[_Found]) -> None:
        self._file.executemany("UPDATE found SET used = 1 WHERE phys = ?", [(part.phys,) for part in parts])

    def count_used(self) -> int:
        return int(self._file.execute("SELECT count(*) FROM found WHERE used").fetchone()[0])

    def close(self) -> None:
        self._file.close()


_CONFIGS: Final = """
SELECT digest, phys, size, compression, diff_id, is_config FROM found
WHERE is_config GROUP BY digest ORDER BY digest
"""
_LAYER: Final = """
SELECT digest, phys, size, compression, diff_id, is_config FROM found
WHERE diff_id = ? ORDER BY phys LIMIT 1
"""


def _found(row: tuple[Any, ...]) -> _Found:
    digest, phys, size, compression, diff_id, is_config = row
    return _Found(Digest.parse(digest), phys, size, compression, diff_id, bool(is_config))


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
            self.start += data[: _CONFIG_BYTES + 1]
        for at in range(0, len(data), _MOUTHFUL[self.compression]):
            if self._unpacker is None or self._broken:
                return
            try:
                self._plain.update(self._unpack(data[at : at + _MOUTHFUL[self.compression]]))
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
        is_config=_diff_ids(bytes(reader.start)) is not None,
    )


def _diff_ids(data: bytes) -> list[str] | None:
    """The layers that an image's config names; None when `data` is none. Pure."""
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
    return ids
