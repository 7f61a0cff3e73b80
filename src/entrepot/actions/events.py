"""What a verb tells while it works: the events of a copy, and a few of its own around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference
from entrepot.transfer.progress import Event


@dataclass(frozen=True, slots=True)
class PullStarted:
    """A manifest has been found; its content follows."""

    label: str
    """The tag, or the whole name when it was asked for by digest."""
    repository: str


@dataclass(frozen=True, slots=True)
class LayerPlanned:
    """A layer the image has, in the manifest's order."""

    layer: Descriptor
    exists: bool
    """It is at its goal already."""


@dataclass(frozen=True, slots=True)
class ContentPulled:
    """All of an image has arrived; listing it under its name comes next."""

    reference: Reference
    digest: Digest
    """Of what the registry's tag holds: the index, where there is one."""


@dataclass(frozen=True, slots=True)
class TagPulled:
    """An image is in the store under its name."""

    reference: Reference
    digest: Digest
    """Of what the registry's tag holds: the index, where there is one."""
    updated: bool
    """The name was new here, or held another image."""


@dataclass(frozen=True, slots=True)
class PushStarted:
    """Nothing has been looked at yet."""

    repository: Reference


@dataclass(frozen=True, slots=True)
class LayersNamed:
    """For each layer of what is pushed next, the digest people know it by: its diff ID."""

    diff_ids: dict[Digest, Digest]


@dataclass(frozen=True, slots=True)
class TagPushed:
    """The registry's tag holds it now."""

    reference: Reference
    digest: Digest
    size: int
    """Bytes of the manifest."""
    existed: bool = False
    """It was so before (`--if-absent`)."""


ActionEvent = (
    Event | PullStarted | LayerPlanned | ContentPulled | TagPulled | PushStarted | LayersNamed | TagPushed
)
Listener = Callable[[ActionEvent], None]


def nobody(_: ActionEvent) -> None:
    """For callers that want no events."""
