"""What happens during a copy, as values. They come from several threads; `copy` calls one at a time.

A blob's life:

    BlobWaiting → BlobExists
                → BlobMounted
                → BlobStarted → BlobProgress* (→ BlobInterrupted → BlobProgress*)* → BlobVerifying → BlobDone

then, when all blobs are there, ManifestStored once a manifest, the top one last.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from entrepot.oci.descriptor import Descriptor


class Role(Enum):
    """What a blob is in its manifest; docker shows only layers."""

    LAYER = "layer"
    CONFIG = "config"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Event:
    """Something about one blob or manifest."""

    descriptor: Descriptor

    @property
    def short(self) -> str:
        """The twelve digits people see."""
        return self.descriptor.digest.short


@dataclass(frozen=True, slots=True)
class BlobEvent(Event):
    role: Role


@dataclass(frozen=True, slots=True)
class BlobWaiting(BlobEvent):
    """Planned. All of these come first, in the order of the manifests."""


@dataclass(frozen=True, slots=True)
class BlobExists(BlobEvent):
    """The sink has it."""


@dataclass(frozen=True, slots=True)
class BlobMounted(BlobEvent):
    """Taken from another repository of the sink."""

    from_repository: str


@dataclass(frozen=True, slots=True)
class BlobStarted(BlobEvent):
    """Bytes begin to move, from `offset` when an earlier run left some."""

    offset: int


@dataclass(frozen=True, slots=True)
class BlobProgress(BlobEvent):
    """`done` bytes of `descriptor.size`, those of earlier runs included."""

    done: int


@dataclass(frozen=True, slots=True)
class BlobInterrupted(BlobEvent):
    """The connection broke; it goes on from `offset` after `delay_s`."""

    reason: str
    offset: int
    delay_s: float


@dataclass(frozen=True, slots=True)
class BlobVerifying(BlobEvent):
    """The last byte came; what is left is the comparison of digests, here or at a registry."""


@dataclass(frozen=True, slots=True)
class BlobDone(BlobEvent):
    """All bytes came and were verified."""


@dataclass(frozen=True, slots=True)
class ManifestStored(Event):
    """`tag` is None for one stored by digest alone."""

    tag: str | None
    size: int


LayerWaiting = BlobWaiting
LayerExists = BlobExists
LayerMounted = BlobMounted
LayerStarted = BlobStarted
LayerProgress = BlobProgress
LayerVerifying = BlobVerifying
LayerDone = BlobDone

Events = Callable[[Event], None]


def ignore(_: Event) -> None:
    """For callers that want no events."""
