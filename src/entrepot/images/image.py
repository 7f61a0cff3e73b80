"""What an image of the store is."""

from __future__ import annotations

from datetime import datetime

import msgspec

from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference


class Image(msgspec.Struct, frozen=True):
    """One image: a config, and everything that leads to it."""

    id: Digest
    """Digest of the config."""
    target: Descriptor
    """What the name asked for points to and `push` sends: a manifest, or an index of several platforms."""
    manifest: Descriptor
    """The manifest of the image itself; of an index, the one for this machine."""
    tags: tuple[Reference, ...]
    repo_digests: tuple[Reference, ...]
    created: datetime | None
    size: int
    """Bytes of the layers once unpacked."""
    platform: Platform | None
    diff_ids: tuple[Digest, ...]
    blobs: tuple[Digest, ...]
    """Config and layers."""
    parent: Digest | None = None
    """The image it was committed from, while that is here."""
    tagged_at: datetime | None = None
    targets: tuple[Digest, ...] = ()
    """Every manifest or index that leads to this ID."""

    @property
    def is_dangling(self) -> bool:
        return not self.tags

    def __str__(self) -> str:
        return self.tags[0].familiar() if self.tags else str(self.id)
