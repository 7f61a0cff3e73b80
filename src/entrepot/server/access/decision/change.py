"""What is about to change: the words between a transaction, the permit it asks, and its audit row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection

__all__ = ["Change", "MayRead", "Permit", "allow_all", "may_read_all"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that a transaction will do."""

    action: str
    """push, create-tag, overwrite-tag, delete-tag, delete-manifest, delete-blob, mount, restore,
    create-repository, delete-repository, create-project, delete-project."""
    repository: str
    """The project's name for create-project and delete-project."""
    tag: str | None = None
    """None: the change is about no tag alone, so a permit for some tags does not do."""
    old: str | None = None
    """Digest before."""
    new: str | None = None
    """Digest after."""


Permit = Callable[[Connection, Change], None]
"""`permit(connection, change)`: returns, or raises AccessDenied. Runs inside the transaction, before the
change."""

MayRead = Callable[[Connection, str], bool]
"""`may_read(connection, repository)`: may the actor pull from it; for mounts from other repositories."""


def allow_all(connection: Connection, change: Change) -> None:
    """The permit of open mode and of jobs."""


def may_read_all(connection: Connection, repository: str) -> bool:  # noqa: ARG001 - a MayRead
    """Everybody may pull everything."""
    return True
