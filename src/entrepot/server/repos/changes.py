"""What is about to change and who wants it: the words between services, permits, audit rows and events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

__all__ = ["SYSTEM", "Actor", "Change", "MayRead", "Permit", "allow_all", "may_read_all"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a transaction will do."""

    action: str
    """push, create-tag, overwrite-tag, delete-tag, delete-manifest, delete-blob, mount, restore,
    create-repository, create-project."""
    repository: str
    """The project's name for create-project."""
    tag: str | None = None
    """None: the change is about no tag alone, so a permit for some tags does not do."""
    old: str | None = None
    """Digest before."""
    new: str | None = None
    """Digest after."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, for audit rows and tag events."""

    principal: str
    kind: str = "user"
    address: str | None = None
    token_id: str | None = None
    request_id: str | None = None


SYSTEM: Final = Actor(principal="system", kind="system")
"""The registry itself, in jobs."""

Permit = Callable[[Connection, Change], None]
"""Raises Denied, or lets the change happen. Called inside the transaction, before the change."""

MayRead = Callable[[Connection, str], bool]
"""Whether the actor may pull from a repository."""


def allow_all(connection: Connection, change: Change) -> None:
    """The permit of open mode and of jobs."""


def may_read_all(connection: Connection, repository: str) -> bool:  # noqa: ARG001 - a MayRead
    """Everybody may pull everything."""
    return True
