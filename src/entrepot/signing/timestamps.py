"""RFC 3161 timestamps: when a signature existed, in the word of a timestamp authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder, decode_timestamp_response

from entrepot.signing.errors import SignatureRefused, UnreadableSignature
from entrepot.signing.trustroot import Authority, TrustRoot

CLOCK_SKEW = timedelta(minutes=10)


def check_timestamps(
    stamps: tuple[bytes, ...], signature: bytes, root: TrustRoot
) -> tuple[list[datetime], list[datetime]]:
    """The times authorities of `root` vouch for, and those nobody here vouches for.

    Raises SignatureRefused for a timestamp from the future, or one that cannot be read.
    """
    known, claimed = list[datetime](), list[datetime]()
    for raw in stamps:
        response = _decode(raw)
        time = response.tst_info.gen_time
        time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        if time > datetime.now(UTC) + CLOCK_SKEW:
            raise SignatureRefused(f"timestamp: it is from the future ({time:%Y-%m-%d %H:%M:%S} UTC)")
        vouched = any(
            authority.period.holds(time) and is_of(response, signature, authority)
            for authority in root.timestamp_authorities
        )
        (known if vouched else claimed).append(time)
    return known, claimed


def _decode(raw: bytes) -> TimeStampResponse:
    try:
        response = decode_timestamp_response(raw)
        _ = response.tst_info.gen_time
    except (ValueError, TypeError) as error:
        raise UnreadableSignature("timestamp: it cannot be read") from error
    return response


def is_of(response: TimeStampResponse, message: bytes, authority: Authority) -> bool:
    """Whether this authority stamped exactly these bytes. It needs its root beside its own certificate."""
    if len(authority.chain) < 2:
        return False
    builder = VerifierBuilder().tsa_certificate(authority.chain[0]).add_root_certificate(authority.chain[-1])
    for certificate in authority.chain[1:-1]:
        builder = builder.add_intermediate_certificate(certificate)
    try:
        builder.build().verify_message(response, message)
    except (VerificationError, ValueError):
        return False
    return True
