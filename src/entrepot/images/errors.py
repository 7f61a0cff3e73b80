"""What can go wrong with images kept here. Messages are docker's where docker has one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from entrepot.errors import Conflict, EntrepotError, NotFound, Unavailable, VerificationFailed


class NoSuchImage(NotFound):
    """Nothing in the store has this name or ID."""

    code: ClassVar[str] = "no-such-image"

    def __init__(self, name: str) -> None:
        super().__init__(f"No such image: {name}")
        self.name = name


class AmbiguousImage(NotFound):
    """A shortened ID that fits several images."""

    code: ClassVar[str] = "ambiguous-image"

    def __init__(self, prefix: str, ids: Sequence[str]) -> None:
        super().__init__(f"image ID {prefix} is ambiguous: it fits {', '.join(ids)}", hint=None)


class ImageInUse(Conflict):
    """An image that cannot be removed as asked: a container, a child or another name needs it."""

    code: ClassVar[str] = "image-in-use"


class IncompleteImage(VerificationFailed):
    """A manifest was to be listed while some of its content is not in the store."""

    code: ClassVar[str] = "incomplete-image"


class StoreDamaged(EntrepotError):
    """A file of the store cannot be read as what it should be."""

    code: ClassVar[str] = "store-damaged"


class StoreFull(Unavailable):
    """The disk, or this user's share of it, is full. What had arrived is kept for the next run."""

    code: ClassVar[str] = "store-full"

    def __init__(self, what: str, root: object) -> None:
        super().__init__(
            f"no space left on device: {what} does not fit into {root}",
            hint="free some space (entrepot image prune) and run it again: it goes on where it stopped",
        )


class StoreOfAnother(EntrepotError):
    """A store that another user owns, closed to everybody else."""

    code: ClassVar[str] = "store-of-another"

    def __init__(self, folder: object, owner: str) -> None:
        super().__init__(
            f"the store {folder} belongs to {owner} and is closed to others",
            hint="use one of your own (--store DIR, or ENTREPOT_STORE)",
        )


class PlatformMismatch(NotFound):
    """The image is here, for another platform than the one asked for."""

    code: ClassVar[str] = "platform-mismatch"

    def __init__(self, name: str, found: str, wanted: str) -> None:
        super().__init__(
            f"image with reference {name} was found but its platform ({found}) "
            f"does not match the specified platform ({wanted})"
        )
        self.found = found
        self.wanted = wanted
