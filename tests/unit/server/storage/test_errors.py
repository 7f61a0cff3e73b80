"""What a disk's failures mean."""

import errno

import pytest

from entrepot.server.storage.errors import BlobUnreadable, StorageFailed, reading_failed


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.EIO, BlobUnreadable),
        (errno.ENODATA, BlobUnreadable),
        (errno.EUCLEAN, BlobUnreadable),
        (errno.EBADMSG, BlobUnreadable),
        (errno.EMFILE, StorageFailed),
        (errno.ENOMEM, StorageFailed),
        (errno.EACCES, StorageFailed),
    ],
    ids=lambda value: errno.errorcode.get(value, "") if isinstance(value, int) else value.__name__,
)
def test_only_bad_sectors_are_a_blobs_own_fault(code: int, kind: type[StorageFailed]) -> None:
    failed = reading_failed(OSError(code, "so the disk says"), "blobs/x")
    assert type(failed) is kind
    assert failed.message == "reading blobs/x failed: so the disk says"
    assert failed.retry_after_s
