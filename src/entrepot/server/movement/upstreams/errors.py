"""What an upstream can do wrong, as clients of a proxy project are told."""

from __future__ import annotations

from typing import ClassVar

from entrepot.errors import Denied, LimitExceeded, Unavailable

__all__ = ["UpstreamBusy", "UpstreamMisbehaved", "UpstreamRefused", "UpstreamUnreachable"]


class UpstreamUnreachable(Unavailable):
    """It does not answer, or says that it can't now."""

    code: ClassVar[str] = "upstream-unreachable"


class UpstreamBusy(LimitExceeded):
    """It wants to be asked less; `retry_after_s` is its own wish."""

    code: ClassVar[str] = "upstream-busy"

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class UpstreamRefused(Denied):
    """It does not give this to us, or an admin does not want it fetched."""

    code: ClassVar[str] = "upstream-refused"


class UpstreamMisbehaved(Unavailable):
    """Its answer breaks the protocol, or its own promise; nothing of it was kept."""

    code: ClassVar[str] = "upstream-misbehaved"
