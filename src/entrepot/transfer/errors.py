"""What copying itself can refuse."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import LimitExceeded, NotFound


class NoMatchingPlatform(NotFound):
    """An index has no image for the platform wanted; `available` is what it has."""

    code: ClassVar[str] = "no-matching-platform"

    def __init__(self, message: str, *, hint: str | None = None, available: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint)
        self.available = available


class CopyTooLarge(LimitExceeded):
    """The blobs have more bytes than this copy may move."""

    code: ClassVar[str] = "copy-too-large"
