"""Failures that belong to a verb and to no room below it."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import InvalidInput, NotFound


class BadRequest(InvalidInput):
    """What was asked for makes no sense. docker's client says these itself, without a prefix."""

    code: ClassVar[str] = "bad-request"
    bare = True


class InvalidFilter(InvalidInput):
    code: ClassVar[str] = "invalid-filter"

    def __init__(self, text: str) -> None:
        super().__init__(f"invalid filter '{text}'")


class FileUnusable(NotFound):
    """A file or directory the user named. Said without a prefix, as docker's client does."""

    code: ClassVar[str] = "file-unusable"
    bare = True
