"""What can go wrong with stored bytes, in words an operator can act on."""

from __future__ import annotations

import errno
from typing import ClassVar

from entrepot.errors import InvalidInput, NotFound, Unavailable, VerificationFailed


class InvalidKey(InvalidInput):
    """A physical name that this layout never makes, so it is not followed anywhere."""

    code: ClassVar[str] = "storage-key-invalid"


class BlobMissing(NotFound):
    """No bytes are stored under this physical name."""

    code: ClassVar[str] = "storage-blob-missing"

    def __init__(self, phys: str) -> None:
        super().__init__(
            f"stored blob {phys} is missing", hint="find out what else is missing with: entrepot admin fsck"
        )
        self.phys = phys


class UploadShort(NotFound):
    """The store holds fewer bytes of an upload than the caller thinks; the upload has to start again."""

    code: ClassVar[str] = "storage-upload-short"

    def __init__(self, upload: str, stored: int, wanted: int) -> None:
        super().__init__(f"upload {upload} holds {stored} bytes, not {wanted}; start it again")
        self.upload = upload
        self.stored = stored
        self.wanted = wanted


class StoredBytesDiffer(VerificationFailed):
    """What is stored does not have the digest or size it was said to have."""

    code: ClassVar[str] = "storage-bytes-differ"


class StorageFailed(Unavailable):
    """The disk or object store refused; nothing that was acknowledged is affected. Worth a retry later."""

    code: ClassVar[str] = "storage-failed"


class BlobUnreadable(StorageFailed):
    """The disk fails to give back what is stored here: a bad sector, or all of the disk has gone."""

    code: ClassVar[str] = "storage-blob-unreadable"

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"reading {name} failed: {reason}", retry_after_s=RETRY_AFTER_S)
        self.reason = reason
        """What the disk says."""


class StoredFileUnreadable(VerificationFailed):
    """A file that should become a blob is not there, or can't be read; nothing was stored."""

    code: ClassVar[str] = "storage-file-unreadable"


class StorageFull(StorageFailed):
    """No room is left for more blobs; reads and deletes go on working."""

    code: ClassVar[str] = "storage-full"


RETRY_AFTER_S = 10.0
FULL_RETRY_AFTER_S = 60.0


def translated(error: OSError, doing: str) -> StorageFailed:
    """The error to raise for a failed system call while `doing` something."""
    reason = error.strerror or str(error)
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFull(
            f"{doing} failed: {reason}",
            hint="free space on the data disk, or run: entrepot admin gc",
            retry_after_s=FULL_RETRY_AFTER_S,
        )
    return StorageFailed(f"{doing} failed: {reason}", retry_after_s=RETRY_AFTER_S)


_UNREADABLE = {errno.EIO, errno.ENODATA, errno.EUCLEAN, errno.EBADMSG}
"""What Linux says of a sector that can't be read, the last two of metadata that make no sense."""


def reading_failed(error: OSError, name: str) -> StorageFailed:
    """The error to raise for a failed system call that was to read what is stored under `name`."""
    if error.errno in _UNREADABLE:
        return BlobUnreadable(name, error.strerror or str(error))
    return translated(error, f"reading {name}")
