"""A place for content: where manifests and blobs come from (`Source`) and go to (`Sink`).

A registry's repository, the local store, an image layout, an archive and a docker daemon all implement
these, so that copying knows no endpoint. Everything is synchronous and may be called from several
threads. Sources hand out bytes as they are; `verify.py` tells whether they are what was promised.
Sinks never show anything they have not verified.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from enum import Enum
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from msgspec import Struct

from entrepot.errors import Cancelled
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import DEFAULT as DEFAULT_LIMITS
from entrepot.oci.manifest import ImageManifest, Index, ManifestLimits, parse_manifest


class ManifestBytes(Struct, frozen=True):
    """A manifest as it travels: bytes, the type they are served with, and their digest."""

    raw: bytes
    media_type: str
    digest: Digest

    @classmethod
    def of(cls, raw: bytes, media_type: str, algorithm: str = "sha256") -> ManifestBytes:
        return cls(raw, media_type, Digest.of(raw, algorithm))

    @classmethod
    def from_manifest(cls, manifest: ImageManifest | Index) -> ManifestBytes:
        return cls.of(manifest.raw, manifest.media_type)

    def parse(self, limits: ManifestLimits = DEFAULT_LIMITS) -> ImageManifest | Index:
        """Raises InvalidManifest."""
        return parse_manifest(self.raw, self.media_type, limits=limits)

    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.raw))


class PutResult(Enum):
    """What happened to a blob that was put."""

    STORED = "stored"  # its bytes were taken
    EXISTED = "existed"  # it was there already; the stream was not read to its end
    MOUNTED = "mounted"  # it was taken from another repository of the same place


class CancelToken:
    """Tells long work that it should stop. Set from any thread, once, for good."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        self._event.set()

    @property
    def cancelled(self) -> bool:
        return self._event.is_set()

    def check(self) -> None:
        """Raises Cancelled."""
        if self._event.is_set():
            raise Cancelled("the work was stopped")

    def wait(self, timeout_s: float) -> bool:
        """Sleep that ends early when cancelled; whether it was."""
        return self._event.wait(timeout_s)


class BlobStream(Protocol):
    """Bytes of one blob, once, in order. Whoever opened it closes it (`with`)."""

    def read(self, size: int = -1, /) -> bytes:
        """At most `size` bytes (all when negative), empty at the end."""
        ...

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """How many bytes were put at the start of `buffer`; 0 at the end."""
        ...

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


@runtime_checkable
class Source(Protocol):
    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        """By tag name or digest. Raises NotFound."""
        ...

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        """Raw bytes from `offset` to the end, not verified. Raises NotFound."""
        ...


@runtime_checkable
class Sink(Protocol):
    def has_blob(self, descriptor: Descriptor) -> bool: ...

    def has_manifest(self, digest: Digest) -> bool: ...

    def blob_offset(self, descriptor: Descriptor) -> int:
        """Bytes of it already held from an earlier, interrupted run; 0 when none."""
        ...

    def put_blob(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> PutResult:
        """Take the bytes of `stream`, which starts at `offset`, a value `blob_offset` gave (or 0).

        `progress` is called with the number of bytes of each step. Nothing is visible before digest
        and size are verified. Raises VerificationFailed (and keeps nothing), or what the stream
        raised (and may keep what came, for `blob_offset`). The caller closes the stream.
        """
        ...

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        """Take the blob from another repository of this place without moving bytes; False when it can't."""
        ...

    def put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        """Everything it refers to must be there. `reference` is a tag, None to store by digest alone."""
        ...


@runtime_checkable
class TagStore(Protocol):
    def list_tags(self) -> Iterator[str]:
        """In byte order."""
        ...

    def delete_tag(self, tag: str) -> None:
        """Raises NotFound."""
        ...

    def delete_manifest(self, digest: Digest) -> None:
        """And every tag that points to it. Raises NotFound."""
        ...


@runtime_checkable
class ReferrerSource(Protocol):
    def list_referrers(self, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        """Manifests whose subject is `digest`; with artifact type and annotations. Empty when none."""
        ...
