"""Where content comes from: another registry, whatever way it is reached."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

from entrepot.content.protocols import ManifestBytes
from entrepot.errors import NotFound, VerificationFailed
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.server.storage.store import BlobStore

__all__ = ["AbsentAtOrigin", "ImportOrigin", "Left", "OriginContents", "OriginUnreadable"]


class AbsentAtOrigin(NotFound):
    """The other registry would not serve it either."""

    code: ClassVar[str] = "absent-at-origin"


class OriginUnreadable(VerificationFailed):
    """The other registry has it, but it can't be read."""

    code: ClassVar[str] = "origin-unreadable"


@dataclass(frozen=True, slots=True, order=True)
class Left:
    """Something that did not come."""

    what: str
    why: str


@dataclass(slots=True)
class OriginContents:
    """What one repository holds, by digest. Names are checked, digests are what they look like."""

    tags: dict[str, Digest] = field(default_factory=dict)
    manifests: list[Digest] = field(default_factory=list)
    """Known without a tag; there may be more, which these lead to."""
    left: list[Left] = field(default_factory=list)
    """What can't come, for its name or because it can't be read."""
    blobs: set[Digest] = field(default_factory=set)
    """What the repository serves, as far as that can be listed."""


class ImportOrigin(Protocol):
    """Asked by several tasks at once."""

    def repositories(self) -> AsyncGenerator[str | Left, None]:
        """Names, checked, in byte order; what can't come for its name."""
        ...

    async def contents(self, repository: str) -> OriginContents: ...

    async def manifest(self, repository: str, digest: Digest) -> ManifestBytes:
        """Not yet verified. Raises AbsentAtOrigin, OriginUnreadable."""
        ...

    async def referrers(self, repository: str, digest: Digest) -> list[Digest]:
        """Manifests about this one, where `contents` did not name all there are."""
        ...

    async def require_blob(self, repository: str, blob: Descriptor) -> None:
        """Raises AbsentAtOrigin when the repository would not serve it, without reading it."""
        ...

    async def take(self, store: BlobStore, repository: str, blob: Descriptor) -> tuple[str, str]:
        """Put a blob into `store`, verified and durable: its physical name, and how it came.

        Raises AbsentAtOrigin, OriginUnreadable, BytesDiffer, StoredBytesDiffer.
        """
        ...

    async def read(self, repository: str, blob: Descriptor) -> AsyncGenerator[bytes, None]:
        """Its bytes, not verified. Raises AbsentAtOrigin, OriginUnreadable."""
        ...

    async def close(self) -> None: ...
