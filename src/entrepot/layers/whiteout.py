"""How a layer says that something of the layers below is gone.

image-spec: Whiteouts. `dir/.wh.name` removes `dir/name`; `dir/.wh..wh..opq` removes all that `dir` had. Both
speak of
lower layers only, wherever in the tar they stand. Other names that start with `.wh..wh.` were AUFS's own and
mean nothing.

On an overlay file system the same is said with a character device 0:0 and with the xattr `overlay.opaque`.
"""

from __future__ import annotations

from msgspec import Struct

from entrepot.layers.errors import InvalidLayer

PREFIX = b".wh."
OPAQUE_NAME = b".wh..wh..opq"
_AUFS_PREFIX = b".wh..wh."

OVERLAY_OPAQUE_ROOT = "trusted.overlay.opaque"
"""Read by overlay mounts of root."""
OVERLAY_OPAQUE_USER = "user.overlay.opaque"
"""Read by overlay mounts with `userxattr`, the only ones a user namespace may make."""


class Whiteout(Struct, frozen=True):
    """`name` of a lower layer is gone."""

    name: bytes


class Opaque:
    """Everything that lower layers have in this directory is gone."""


class Ignored:
    """A bookkeeping file of AUFS."""


def parse_whiteout(base: bytes) -> Whiteout | Opaque | Ignored | None:
    """What the last component of an entry's name says, or None for an ordinary name.

    Raises InvalidLayer for a bare `.wh.` and for one that would remove the directory itself or its parent.
    """
    if not base.startswith(PREFIX):
        return None
    if base == OPAQUE_NAME:
        return Opaque()
    if base.startswith(_AUFS_PREFIX):
        return Ignored()
    name = base[len(PREFIX) :]
    if name in (b"", b".", b".."):
        raise InvalidLayer(f"whiteout {base!r} names nothing that can be removed")
    return Whiteout(name)
