"""The layout of stored bytes, drawn once, and the only place that makes or accepts a physical name.

On a filesystem::

    <root>/                                      0700, files 0600
      identity.json                              store id and epoch, see `StoreIdentity`
      reserve                                    space given back when the disk is full
      blobs/sha256/ab/<hex>.<random>             written once, never overwritten, never renamed over
      blobs/sha512/ab/<hex>.<random>
      uploads/<boot>.<random>                    one file an upload; <boot> names the boot it was begun in
      derived/ab/<random>                        made of blobs, and again when it is gone

In an object store, below the configured prefix::

      identity.json
      blobs/<random>/<offset>.<random>           one object a request; an upload of a single request
                                                 becomes the blob as it is, without a copy
      derived/ab/<random>

The random part means that a physical name is never used twice: a file that garbage collection is about to
remove can't be the file that a push has just written, so neither has to wait for the other.
"""

from __future__ import annotations

import re
import secrets

from entrepot.oci.digest import Digest
from entrepot.server.storage.errors import InvalidKey

BLOBS = "blobs"
UPLOADS = "uploads"
DERIVED = "derived"
IDENTITY = "identity.json"
RESERVE = "reserve"

_RANDOM_BYTES = 16
_BLOB = re.compile(
    r"blobs/(?:sha256/[0-9a-f]{2}/[0-9a-f]{64}\.[0-9a-f]{32}"
    r"|sha512/[0-9a-f]{2}/[0-9a-f]{128}\.[0-9a-f]{32}"
    r"|[0-9a-f]{32}/[0-9]{20}\.[0-9a-f]{16})"
)
_DERIVED = re.compile(r"derived/[0-9a-f]{2}/[0-9a-f]{32}")
_FILE_UPLOAD = re.compile(r"uploads/[0-9a-f]{12}\.[0-9a-f]{32}")
_OBJECT_UPLOAD = re.compile(r"blobs/[0-9a-f]{32}")


def file_blob_key(digest: Digest) -> str:
    """A new physical name for a file with this digest."""
    return f"{BLOBS}/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}.{_random()}"


def file_upload_key(boot: str) -> str:
    """A new name for an upload file; `boot` is 12 hex characters that change when the machine restarts."""
    return f"{UPLOADS}/{boot}.{_random()}"


def boot_of_upload(upload: str) -> str:
    """The boot in which a file upload was begun."""
    return checked_upload(upload).removeprefix(f"{UPLOADS}/").partition(".")[0]


def object_upload_key() -> str:
    """A new name below which the segments of an upload are put."""
    return f"{BLOBS}/{_random()}"


def segment_key(upload: str, offset: int) -> str:
    """A new name for the segment of `upload` that starts at byte `offset`."""
    return f"{checked_upload(upload)}/{offset:020d}.{secrets.token_hex(8)}"


def segment_offset(phys: str) -> int:
    """The byte of its upload at which a segment starts."""
    return int(checked_blob(phys).rpartition("/")[2].partition(".")[0])


def checked_blob(phys: str) -> str:
    """`phys` if it is a blob name of this layout.

    Raises InvalidKey, so that no row can lead outside the root.
    """
    if not is_blob(phys):
        raise InvalidKey(f"{phys!r} is not the name of a stored blob")
    return phys


def is_blob(name: str) -> bool:
    """Whether an object's name is a blob's; other names in a store are not ours."""
    return _BLOB.fullmatch(name) is not None


def derived_key() -> str:
    """A new name for something made of blobs."""
    name = _random()
    return f"{DERIVED}/{name[:2]}/{name}"


def checked_derived(name: str) -> str:
    """`name` if it is one of something made of blobs. Raises InvalidKey."""
    if _DERIVED.fullmatch(name) is None:
        raise InvalidKey(f"{name!r} is not the name of a derived object")
    return name


def checked_upload(upload: str) -> str:
    """`upload` if it is an upload name of this layout. Raises InvalidKey."""
    if not is_upload(upload):
        raise InvalidKey(f"{upload!r} is not the name of an upload")
    return upload


def is_upload(name: str) -> bool:
    """Whether a name in the trash is an upload's rather than a blob's."""
    return bool(_FILE_UPLOAD.fullmatch(name) or _OBJECT_UPLOAD.fullmatch(name))


def _random() -> str:
    return secrets.token_hex(_RANDOM_BYTES)
