"""What can go wrong when signing in or asking for leave."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import (
    Conflict,
    Denied,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
)
from entrepot.wording import seconds

__all__ = [
    "AlreadyExists",
    "InvalidCredentials",
    "InvalidName",
    "InvalidPassword",
    "InvalidPattern",
    "InvalidTagPattern",
    "InvalidToken",
    "NameTaken",
    "NotAdmitted",
    "NotKnownNow",
    "PermitRefused",
    "SignInCancelled",
    "TooManyAttempts",
    "Unknown",
    "VersionMismatch",
]


class InvalidCredentials(Unauthorized):
    """Unknown name or wrong secret; deliberately the same for both."""

    code: ClassVar[str] = "invalid-credentials"
    challenge_error: ClassVar[str | None] = None


class NotKnownNow(Unavailable):
    """A sign-in source could not be asked. The same for every name and password that isn't right here."""

    code: ClassVar[str] = "sign-in-not-known-now"

    def __init__(self) -> None:
        super().__init__(
            "the user name or password is wrong, or known only where nobody answers at the moment",
            hint="try again in a moment",
            retry_after_s=10.0,
        )


class NotAdmitted(InvalidCredentials):
    """A source knows them, and they may not come in. Only told to whoever has proven who they are."""

    code: ClassVar[str] = "not-admitted"


class NameTaken(InvalidCredentials):
    """A source vouches for somebody whose name is another account's here."""

    code: ClassVar[str] = "name-taken"


class SignInCancelled(InvalidCredentials):
    """They turned back at the provider."""

    code: ClassVar[str] = "sign-in-cancelled"


class InvalidToken(Unauthorized):
    """A bearer token that is forged, expired or revoked."""

    code: ClassVar[str] = "invalid-token"
    challenge_error: ClassVar[str | None] = "invalid_token"


class TooManyAttempts(LimitExceeded):
    """Sign-in backs off after failures; `retry_after_s` says how long."""

    code: ClassVar[str] = "too-many-attempts"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message, hint=f"try again in {seconds(retry_after_s)}")
        self.retry_after_s = retry_after_s


class PermitRefused(Denied):
    """The decision was no; carries the rule."""

    code: ClassVar[str] = "access-denied"

    def __init__(self, message: str, *, rule: str = "") -> None:
        super().__init__(message)
        self.rule = rule


class InvalidName(InvalidInput):
    """A user, robot, team, role or project name outside of its grammar."""

    code: ClassVar[str] = "invalid-name"


class InvalidPassword(InvalidInput):
    """Too short, too long, or known to everybody."""

    code: ClassVar[str] = "invalid-password"


class InvalidPattern(InvalidInput):
    """A repository glob or tag pattern outside of its grammar."""

    code: ClassVar[str] = "invalid-pattern"


class InvalidTagPattern(InvalidPattern):
    """One of tags."""


class Unknown(NotFound):
    """No such user, robot, team, role, grant, token or project."""

    code: ClassVar[str] = "unknown-account"


class AlreadyExists(Conflict):
    """The name is taken."""

    code: ClassVar[str] = "already-exists"


class VersionMismatch(Conflict):
    """If-Match named another version than the present one."""

    code: ClassVar[str] = "version-mismatch"
