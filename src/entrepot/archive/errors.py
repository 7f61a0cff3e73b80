"""What can be wrong with an archive of images."""

from __future__ import annotations

from entrepot.errors import Conflict, InvalidInput, NotFound


class InvalidArchive(InvalidInput):
    """Not an archive of images, a damaged one, or one that two programs would read differently."""

    code = "invalid-archive"


class NotInArchive(NotFound):
    """The archive has no image of that name."""

    code = "not-in-archive"


class AmbiguousArchive(Conflict):
    """The archive has several images and none, or no single one, was named."""

    code = "ambiguous-archive"
