"""What a sign-in source tells us, and the seam for those that check passwords."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["PasswordSource", "Person"]


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody a source vouches for, at this sign-in."""

    subject: str
    """The source's own, stable id; names may change."""
    name: str
    display_name: str = ""
    email: str = ""
    groups: tuple[str, ...] | None = None
    """None: the source knows no groups; empty: in none."""
    is_admin: bool | None = None
    """None: the source does not say."""


class PasswordSource(Protocol):
    """Checks a name and a password. Several may be asked, in order."""

    @property
    def name(self) -> str: ...

    async def sign_in(self, name: str, password: str) -> Person | None:
        """None: unknown here, or the password is wrong. Raises Unavailable when it can't be asked."""

    def vouches_for(self, name: str) -> str | None:
        """Something that changes when this user's password does, from memory; None: no such user any more."""
