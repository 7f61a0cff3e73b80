"""What a verb tells while it works: the events of a copy, and a few of its own around them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference
from entrepot.transfer.progress import Event


class PullStarted(msgspec.Struct, frozen=True):
    """A manifest has been found; its content follows."""

    label: str
    """The tag, or the whole name when it was asked for by digest."""
    repository: str


class LayerPlanned(msgspec.Struct, frozen=True):
    """A layer the image has, in the manifest's order."""

    layer: Descriptor
    exists: bool
    """It is at its goal already."""


class ContentPulled(msgspec.Struct, frozen=True):
    """All of an image has arrived; listing it under its name comes next."""

    reference: Reference
    digest: Digest
    """Of what the registry's tag holds: the index, where there is one."""


class TagPulled(msgspec.Struct, frozen=True):
    """An image is in the store under its name."""

    reference: Reference
    digest: Digest
    """Of what the registry's tag holds: the index, where there is one."""
    updated: bool
    """The name was new here, or held another image."""


class PushStarted(msgspec.Struct, frozen=True):
    """Nothing has been looked at yet."""

    repository: Reference


class LayersNamed(msgspec.Struct, frozen=True):
    """For each layer of what is pushed next, the digest people know it by: its diff ID."""

    diff_ids: dict[Digest, Digest]


class LayerCompressing(msgspec.Struct, frozen=True):
    """A layer that was loaded as plain tar is made smaller before it is sent; `done` bytes were read."""

    layer: Descriptor
    done: int


class TagPushed(msgspec.Struct, frozen=True):
    """The registry's tag holds it now."""

    reference: Reference
    digest: Digest
    size: int
    """Bytes of the manifest."""
    existed: bool = False
    """It was so before (`--if-absent`)."""


ActionEvent = (
    Event
    | PullStarted
    | LayerPlanned
    | ContentPulled
    | TagPulled
    | PushStarted
    | LayersNamed
    | LayerCompressing
    | TagPushed
)
Listener = Callable[[ActionEvent], None]


def nobody(_: ActionEvent) -> None:
    """For callers that want no events."""
