"""What can go wrong with a registry, as one class a caller's decision."""

from __future__ import annotations

from typing import ClassVar

from entrepot.content.errors import Interrupted
from entrepot.errors import (
    Conflict,
    Denied,
    EntrepotError,
    InvalidInput,
    LimitExceeded,
    NotFound,
    Unauthorized,
    Unavailable,
    VerificationFailed,
)


class SettingsInvalid(InvalidInput):
    """A settings file of the client cannot be used; the message names file and key."""

    code: ClassVar[str] = "client-settings-invalid"


class RegistryUnreachable(Unavailable):
    """No connection, or it broke and stayed broken: names, ports, timeouts, certificates."""

    code: ClassVar[str] = "registry-unreachable"


class CertificateUntrusted(RegistryUnreachable):
    """The registry was reached but its certificate is not trusted here."""

    code: ClassVar[str] = "certificate-untrusted"


class RegistryFailed(Unavailable):
    """The registry answered 5xx or 408 until patience ran out."""

    code: ClassVar[str] = "registry-failed"


class TooManyRequests(Unavailable):
    """The registry answered 429 until patience ran out; `retry_after_s` is its own wish."""

    code: ClassVar[str] = "registry-busy"


class AccessDenied(Denied):
    """The registry knows us (or knows that it does not) and says no."""

    code: ClassVar[str] = "registry-access-denied"


class AuthenticationFailed(Unauthorized):
    """User name, password or token were not accepted."""

    code: ClassVar[str] = "authentication-failed"


class ContentNotFound(NotFound):
    """The manifest, blob, tag or repository is not there."""

    code: ClassVar[str] = "content-not-found"


class RegistryRefused(InvalidInput):
    """The registry rejected the request as such (other 4xx): its own words are in the message."""

    code: ClassVar[str] = "registry-refused"


class HistoryUnknown(NotFound):
    """The registry does not keep what its tags were; it answered with what they are."""

    code: ClassVar[str] = "history-unknown"


class RegistryMisbehaved(VerificationFailed):
    """An answer breaks the protocol or its own promise; nothing of it was used."""

    code: ClassVar[str] = "registry-misbehaved"


class DestinationForbidden(RegistryMisbehaved):
    """The registry sent us (or our credentials) where it may not: other host, plain HTTP, local address."""

    code: ClassVar[str] = "destination-forbidden"


class AnswerTooLarge(LimitExceeded):
    """A body went over the cap for its kind; reading stopped there."""

    code: ClassVar[str] = "answer-too-large"


class TagExists(Conflict):
    """A conditional push found the tag taken; `digest` is what holds it, where known."""

    code: ClassVar[str] = "tag-exists"

    def __init__(self, message: str, *, hint: str | None = None, digest: object | None = None) -> None:
        super().__init__(message, hint=hint)
        self.digest = digest


class UploadInterrupted(Interrupted):
    """The connection broke inside an upload; `blob_offset` tells where to go on."""

    code: ClassVar[str] = "upload-interrupted"


class RegistryBlocked(Denied):
    """Settings on this machine forbid the registry."""

    code: ClassVar[str] = "registry-blocked"


class CredentialHelperFailed(EntrepotError):
    """A `docker-credential-…` program is missing or failed."""

    code: ClassVar[str] = "credential-helper-failed"


class CredentialsUnwritable(EntrepotError):
    """The credentials file could not be changed."""

    code: ClassVar[str] = "credentials-unwritable"
