"""Blobs as files, durable in the order that a power cut can't break.

A commit, in this order; the catalog's own commit and the answer to the client come after it:

1. the bytes are written to `uploads/<boot>.<random>` and hashed as stored, in threads, the one beside the
other (`append`) 2. fsync of the file 3. rename to `blobs/<alg>/<aa>/<hex>.<random>`, a name that was never
used before 4. fsync of that directory; its parents were synced when this process first used them (`tree`)

When any of these fails the upload fails and its file is removed. An fsync is never tried again: after an
error the kernel has forgotten which bytes it lost, and a second call would succeed without them.

`driver` and `uploads` are what the registry's store is built of; they do nothing on the event loop that may
wait for a disk. `tree` is what they do in threads, `ops` every system call of it; `stream` reads.
"""

from __future__ import annotations

from pathlib import Path

from entrepot.server.storage.boot import boot_id
from entrepot.server.storage.filesystem.calls import DiskCalls
from entrepot.server.storage.filesystem.driver import FileDriver
from entrepot.server.storage.filesystem.ops import FileOps
from entrepot.server.storage.filesystem.tree import FolderTree
from entrepot.server.storage.filesystem.uploads import FileUploads
from entrepot.server.storage.store import BlobStore
from entrepot.server.storage.threads import disk_pool

__all__ = ["DEFAULT_RESERVE_BYTES", "filesystem_store"]

DEFAULT_RESERVE_BYTES = 16 * 1024 * 1024
"""Room that uploads leave on the disk, so that deletes and garbage collection still work."""


def filesystem_store(
    root: Path,
    ops: FileOps | None = None,
    *,
    reserve_bytes: int = DEFAULT_RESERVE_BYTES,
    boot: str | None = None,
) -> BlobStore:
    """The store below `root`. Several processes may use one; nothing is made before `prepare` or the first
    write.
    """
    tree = FolderTree(root, ops or FileOps(), reserve_bytes=reserve_bytes, boot=boot or boot_id())
    calls = DiskCalls(tree, disk_pool())
    return BlobStore(FileDriver(calls), FileUploads(calls))
