"""What happens during a copy, as values. They come from several threads; `copy` calls one at a time.

A blob's life:

    BlobWaiting → BlobExists
                → BlobMounted
                → BlobStarted → BlobProgress* (→ BlobInterrupted → BlobProgress*)* → BlobVerifying → BlobDone

then, when all blobs are there, ManifestStored once a manifest, the top one last.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import msgspec

from entrepot.oci.descriptor import Descriptor


class Role(Enum):
    """What a blob is in its manifest; docker shows only layers."""

    LAYER = "layer"
    CONFIG = "config"
    OTHER = "other"


class Event(msgspec.Struct, frozen=True):
    """Something about one blob or manifest."""

    descriptor: Descriptor

    @property
    def short(self) -> str:
        """The twelve digits people see."""
        return self.descriptor.digest.short


class BlobEvent(Event, frozen=True):
    role: Role


class BlobWaiting(BlobEvent, frozen=True):
    """Planned. All of these come first, in the order of the manifests."""


class BlobExists(BlobEvent, frozen=True):
    """The sink has it."""


class BlobMounted(BlobEvent, frozen=True):
    """Taken from another repository of the sink."""

    from_repository: str


class BlobStarted(BlobEvent, frozen=True):
    """Bytes begin to move, from `offset` when an earlier run left some."""

    offset: int


class BlobProgress(BlobEvent, frozen=True):
    """`done` bytes of `descriptor.size`, those of earlier runs included."""

    done: int


class BlobInterrupted(BlobEvent, frozen=True):
    """The connection broke; it goes on from `offset` after `delay_s`."""

    reason: str
    offset: int
    delay_s: float


class BlobVerifying(BlobEvent, frozen=True):
    """The last byte came; what is left is the comparison of digests, here or at a registry."""


class BlobDone(BlobEvent, frozen=True):
    """All bytes came and were verified."""


class ManifestStored(Event, frozen=True):
    """`tag` is None for one stored by digest alone."""

    tag: str | None
    size: int


Events = Callable[[Event], None]


def ignore(_: Event) -> None:
    """For callers that want no events."""
