"""What can go wrong when a whole registry is moved, backed up or brought back."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import Conflict, InvalidInput, NotFound, Unavailable, VerificationFailed

__all__ = [
    "BackupInvalid",
    "BackupMissing",
    "BytesDiffer",
    "HoldFailed",
    "HoldLost",
    "PlaceFailed",
    "TargetInUse",
]


class TargetInUse(Conflict):
    """Something is where a registry should be put."""

    code: ClassVar[str] = "target-in-use"


class HoldFailed(Unavailable):
    """Changes could not be held back; nothing was switched over."""

    code: ClassVar[str] = "hold-failed"


class HoldLost(Unavailable):
    """Changes could not be held back until the end; nothing was switched over."""

    code: ClassVar[str] = "hold-lost"


class BytesDiffer(VerificationFailed):
    """Bytes that were copied do not have the digest they should."""

    code: ClassVar[str] = "copied-bytes-differ"


class BackupInvalid(InvalidInput):
    """No backup, one of another registry, or one that another key opens."""

    code: ClassVar[str] = "backup-invalid"


class BackupMissing(NotFound):
    """The backup lacks something."""

    code: ClassVar[str] = "backup-missing"


class PlaceFailed(Unavailable):
    """The folder or bucket of a backup refused."""

    code: ClassVar[str] = "backup-place-failed"
