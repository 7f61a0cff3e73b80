"""Whom to believe, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from entrepot.signing.dsse import Statement
from entrepot.signing.errors import SignatureRefused
from entrepot.signing.keys import PublicKey
from entrepot.signing.timestamps import CLOCK_SKEW


@dataclass(frozen=True, slots=True)
class ByKey:
    """Whoever holds this key."""

    key: PublicKey
    name: str
    """What the caller calls it: a file."""


@dataclass(frozen=True, slots=True)
class ByIdentity:
    """Whoever an issuer says this is (Fulcio certificates)."""

    identity: str
    issuer: str


Trusted = ByKey | ByIdentity


@dataclass(frozen=True, slots=True)
class Verified:
    """A signature that holds."""

    signer: str
    signed_at: datetime | None = None
    """In the word of a log or a timestamp authority; None when nobody but the signer knows."""
    log_index: int | None = None
    statement: Statement | None = None
    notes: tuple[str, ...] = ()
    """What was there and could not be checked."""


def not_from_the_future(at: datetime, what: str) -> datetime:
    """Raises SignatureRefused."""
    if at > datetime.now(UTC) + CLOCK_SKEW:
        raise SignatureRefused(f"{what}: it is from the future ({at:%Y-%m-%d %H:%M:%S} UTC)")
    return at
