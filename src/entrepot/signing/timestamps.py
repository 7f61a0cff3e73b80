"""RFC 3161 timestamps: when a signature existed, in the word of a timestamp authority."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder, decode_timestamp_response

from entrepot.signing.errors import SignatureRefused, UnreadableSignature
from entrepot.signing.trustroot import Authority, TrustRoot
from entrepot.signing.tstinfo import claimed_time

CLOCK_SKEW = timedelta(minutes=10)


def check_timestamps(
    stamps: tuple[bytes, ...], signature: bytes, root: TrustRoot
) -> tuple[list[datetime], list[datetime]]:
    """The times authorities of `root` vouch for, and those nobody here vouches for.

    Raises SignatureRefused for a timestamp from the future, or one that cannot be read.
    """
    known, claimed = list[datetime](), list[datetime]()
    for raw in stamps:
        response = _readable(raw)
        time = _gen_time(response) if response is not None else claimed_time(raw)
        if time > datetime.now(UTC) + CLOCK_SKEW:
            raise SignatureRefused(f"timestamp: it is from the future ({time:%Y-%m-%d %H:%M:%S} UTC)")
        vouched = response is not None and any(
            authority.period.holds(time) and is_of(response, signature, authority)
            for authority in root.timestamp_authorities
        )
        (known if vouched else claimed).append(time)
    return known, claimed


def _readable(raw: bytes) -> TimeStampResponse | None:
    """None for what is not strict DER."""
    try:
        response = decode_timestamp_response(raw)
        _ = response.tst_info.gen_time
    except (ValueError, TypeError):
        return None
    return response


def _gen_time(response: TimeStampResponse) -> datetime:
    time = response.tst_info.gen_time
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


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


def token_time(token: bytes, message: bytes, roots: list[x509.Certificate]) -> datetime:
    """When an authority with one of these roots stamped the bytes. The token brings its own certificates.

    Raises SignatureRefused.
    """
    if token[:1] != b"\x30":
        raise UnreadableSignature("timestamp: it cannot be read")
    # A token is what stands behind "granted" in an answer, and answers are what the library reads.
    body = b"\x30\x03\x02\x01\x00" + token
    response = _readable(b"\x30" + _der_length(len(body)) + body)
    if response is None:
        raise UnreadableSignature("timestamp: it cannot be read")
    builder = VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    try:
        builder.build().verify_message(response, message)
    except (VerificationError, ValueError) as error:
        raise SignatureRefused(
            "timestamp: it is of no authority in the trust stores, or of other bytes"
        ) from error
    return _gen_time(response)


def _der_length(length: int) -> bytes:
    if length < 0x80:
        return bytes([length])
    size = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(size)]) + size
