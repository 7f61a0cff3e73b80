"""The root of every error the package raises on purpose.

An error carries a stable kebab-case `code` for programs, a `message` that says what failed and on
what, and an optional `hint` that says what to do. Areas subclass these in their own `errors`
modules; codes are unique in the tree. At the wire and at the command line the classes are turned
into the protocol's codes and into exit codes; nothing else decides on message text.
"""

from __future__ import annotations

from typing import ClassVar


class EntrepotError(Exception):
    """Anything the package reports to its user. `str()` is the message alone."""

    code: ClassVar[str] = "error"
    operator_hint: str | None = None
    """What whoever runs the registry can do about it; told by its commands and never to its clients."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message


class InvalidInput(EntrepotError):
    """What was given can't be right: the caller has to change it."""

    code = "invalid-input"


class NotFound(EntrepotError):
    """The named thing is not there."""

    code = "not-found"


class Denied(EntrepotError):
    """The caller is known (or anonymous) and may not do this."""

    code = "denied"


class Unauthorized(EntrepotError):
    """Credentials are missing or were not accepted."""

    code = "unauthorized"


class Conflict(EntrepotError):
    """The state of the thing forbids the change; looking again may help."""

    code = "conflict"


class LimitExceeded(EntrepotError):
    """A documented limit was passed."""

    code = "limit-exceeded"


class Unavailable(EntrepotError):
    """Not now: a disk is full, a peer is down, a server is busy. Trying later may help."""

    code = "unavailable"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class VerificationFailed(EntrepotError):
    """The bytes are not what was promised. Nothing of them was kept."""

    code = "verification-failed"


class Cancelled(EntrepotError):
    """The work was stopped because somebody asked for it."""

    code = "cancelled"
