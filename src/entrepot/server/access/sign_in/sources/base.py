"""What a sign-in source tells us, and the seam for those that check passwords."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Protocol

__all__ = ["PasswordSource", "Person", "entry_mark", "holds"]


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
    entry: str = ""
    """Mark of the entry the password was checked against: another one when that changes. Empty: not known.
    The person can read it."""


class PasswordSource(Protocol):
    """Checks a name and a password. Several may be asked, in order."""

    @property
    def name(self) -> str: ...

    async def sign_in(self, name: str, password: str) -> Person | None:
        """None: unknown here, or the password is wrong. Raises Unavailable when it can't be asked."""

    async def pretend(self) -> None:
        """The work of `sign_in` for a name that is unknown here, about nobody. Raises Unavailable.

        For names that are not this source's to check: how long an answer takes must not tell who exists,
        and another's password must not get here.
        """

    def vouches_for(self, name: str) -> str | None:
        """From memory: the mark of this user's entry. Empty: nothing is known. None: no such user now."""

    async def goes_on(self, name: str, entry: str) -> bool:
        """Whether who signed in when the mark was `entry` (never empty) may go on; looks again when due.

        Raises Unavailable when that can't be told.
        """


def entry_mark(*parts: str) -> str:
    """A mark that tells nothing of what it is made from. Bearer tokens carry it."""
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()


def holds(vouched: str | None, entry: str) -> bool:
    """Whether what was signed in with when the mark was `entry` is still good. Pure."""
    return vouched is not None and (not vouched or not entry or vouched == entry)
