"""Trust roots: whom to believe about identities, logs and times (sigstore's `trusted_root.json`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cryptography import x509

from entrepot.signing.certificate_files import read_certificate
from entrepot.signing.errors import InvalidTrust
from entrepot.signing.fields import Fields
from entrepot.signing.keys import PublicKey, key_id, load_public_key

MEDIA_TYPES = (
    "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
    "application/vnd.dev.sigstore.trustedroot+json;version=0.2",
    "application/vnd.dev.sigstore.trustedroot.v0.2+json",
)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Period:
    """From when to when something is believed, both ends included."""

    start: datetime
    end: datetime | None

    def holds(self, at: datetime) -> bool:
        return self.start <= at and (self.end is None or at <= self.end)


@dataclass(frozen=True, slots=True)
class TransparencyLog:
    """A transparency log: of signatures (Rekor) or of certificates."""

    log_id: bytes
    key: PublicKey
    period: Period


@dataclass(frozen=True, slots=True)
class Authority:
    """Who issues certificates, or timestamps. Its chain, from the issuer to the root."""

    chain: tuple[x509.Certificate, ...]
    period: Period


@dataclass(frozen=True, slots=True)
class TrustRoot:
    """All of it, and the bytes it was read from."""

    raw: bytes
    logs: tuple[TransparencyLog, ...]
    certificate_logs: tuple[TransparencyLog, ...]
    authorities: tuple[Authority, ...]
    timestamp_authorities: tuple[Authority, ...]

    def log(self, log_id: bytes) -> TransparencyLog | None:
        return next((log for log in self.logs if log.log_id == log_id), None)


def parse_trust_root(raw: bytes, where: str = "trust root") -> TrustRoot:
    """Raises InvalidTrust: also where a period has no start, which would mean "since ever"."""
    fields = Fields.parse(raw, where, InvalidTrust)
    if fields.text("mediaType") not in MEDIA_TYPES:
        raise fields.wrong("mediaType", f"{fields.text('mediaType')[:80]!r} is not that of a trust root")
    return TrustRoot(
        raw=raw,
        logs=_each(fields, "tlogs", _log),
        certificate_logs=_each(fields, "ctlogs", _log),
        authorities=_each(fields, "certificateAuthorities", _authority),
        timestamp_authorities=_each(fields, "timestampAuthorities", _authority),
    )


def _each(fields: Fields, key: str, parse: Callable[[Fields], T | None]) -> tuple[T, ...]:
    return tuple(found for one in fields.objects(key) if (found := parse(one)) is not None)


def _log(fields: Fields) -> TransparencyLog | None:
    """None for keys of a kind that is not supported: what they signed will be of an unknown log."""
    public = fields.object("publicKey")
    period = _period(public)
    try:
        key = load_public_key(public.data("rawBytes"), public.where)
    except InvalidTrust:
        return None
    log_id = fields.object("logId").data("keyId") if fields.has("logId") else key_id(key)
    return TransparencyLog(log_id, key, period)


def _authority(fields: Fields) -> Authority | None:
    """None for one without certificates: it vouches for nothing."""
    period = _period(fields)
    chain = fields.object("certChain").objects("certificates") if fields.has("certChain") else []
    if not chain:
        return None
    try:
        certificates = tuple(read_certificate(one.data("rawBytes")) for one in chain)
    except ValueError as error:
        raise fields.wrong("certChain", "holds a certificate that cannot be read") from error
    return Authority(certificates, period)


def _period(fields: Fields) -> Period:
    period = fields.object("validFor")
    start = _time(period, "start")
    if start is None:
        raise period.wrong("start", "is missing")
    return Period(start, _time(period, "end"))


def _time(fields: Fields, key: str) -> datetime | None:
    text = fields.optional_text(key)
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise fields.wrong(key, "is not a time (RFC 3339)") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
