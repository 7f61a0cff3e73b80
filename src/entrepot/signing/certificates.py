"""Certificates of signers (Fulcio's profile): their chain, proof that they were logged, whom they name."""

from __future__ import annotations

import hashlib
import itertools
import struct
from datetime import UTC, datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.certificate_transparency import LogEntryType, SignedCertificateTimestamp
from cryptography.x509.oid import ExtendedKeyUsageOID

from entrepot.signing.errors import SignatureRefused
from entrepot.signing.keys import check_signature
from entrepot.signing.signed import SignedBytes
from entrepot.signing.trustroot import TrustRoot

_ISSUER_V1 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_ISSUER_V2 = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
_OTHER_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.7")
_UNREADABLE = (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm)


def check_chain(leaf: x509.Certificate, root: TrustRoot, at: datetime) -> x509.Certificate:
    """That an authority of `root` issued the certificate and all was valid at that time; its issuer.

    Raises SignatureRefused.
    """
    require_valid(leaf, at, "the certificate")
    for authority in root.authorities:
        if not authority.period.holds(at):
            continue
        chain = (leaf, *authority.chain)
        if all(_issued(child, parent, at) for child, parent in itertools.pairwise(chain)):
            return authority.chain[0]
    raise SignatureRefused("the certificate was issued by nobody the trust root names")


def require_valid(certificate: x509.Certificate, at: datetime, what: str) -> None:
    """Raises SignatureRefused."""
    if at < certificate.not_valid_before_utc:
        raise SignatureRefused(
            f"{what} was not valid yet when the signature was made ({at:%Y-%m-%d %H:%M:%S} UTC)"
        )
    if at > certificate.not_valid_after_utc:
        raise SignatureRefused(f"{what} had expired when the signature was made ({at:%Y-%m-%d %H:%M:%S} UTC)")


def _issued(child: x509.Certificate, parent: x509.Certificate, at: datetime) -> bool:
    return parent.not_valid_before_utc <= at <= parent.not_valid_after_utc and issued_by(child, parent)


def issued_by(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Whether an authority's certificate `parent` signed `child`, whatever the time."""
    try:
        constraints = parent.extensions.get_extension_for_class(x509.BasicConstraints).value
        child.verify_directly_issued_by(parent)
    except (*_UNREADABLE, TypeError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return constraints.ca


def check_profile(leaf: x509.Certificate) -> None:
    """That the certificate is for signing code, and no authority's. Raises SignatureRefused."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
        extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (*_UNREADABLE, x509.ExtensionNotFound) as error:
        raise SignatureRefused("the certificate does not say what it is for") from error
    if not usage.digital_signature or usage.key_cert_sign:
        raise SignatureRefused("the certificate is not for signatures")
    if ExtendedKeyUsageOID.CODE_SIGNING not in extended:
        raise SignatureRefused("the certificate is not for signing code")


def check_logged(leaf: x509.Certificate, issuer: x509.Certificate, root: TrustRoot) -> None:
    """That a log of certificates has taken it in (RFC 6962 3.2). Raises SignatureRefused."""
    try:
        found = leaf.extensions.get_extension_for_class(x509.PrecertificateSignedCertificateTimestamps).value
    except (*_UNREADABLE, x509.ExtensionNotFound) as error:
        raise SignatureRefused("the certificate has no proof that it was logged") from error
    stamps = list(found)
    if len(stamps) != 1 or stamps[0].entry_type != LogEntryType.PRE_CERTIFICATE:
        raise SignatureRefused(
            f"the certificate has {len(stamps)} proofs that it was logged, one is expected"
        )
    stamp = stamps[0]
    log = next((log for log in root.certificate_logs if log.log_id == stamp.log_id), None)
    if log is None:
        raise SignatureRefused(f"the trust root knows no log of certificates {stamp.log_id.hex()[:16]}")
    at = stamp.timestamp.replace(tzinfo=UTC)
    if not log.period.holds(at):
        raise SignatureRefused("the certificate was logged at a time for which its log is not trusted")
    logged = SignedBytes(_logged(stamp, leaf, issuer, at))
    check_signature(log.key, stamp.signature, logged, "the proof that the certificate was logged")


def _logged(
    stamp: SignedCertificateTimestamp, leaf: x509.Certificate, issuer: x509.Certificate, at: datetime
) -> bytes:
    issuer_key = issuer.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    body = leaf.tbs_precertificate_bytes
    milliseconds = round(at.timestamp() * 1000)
    return b"".join((
        struct.pack("!BBQH", stamp.version.value, 0, milliseconds, 1),
        hashlib.sha256(issuer_key).digest(),
        len(body).to_bytes(3, "big"), body,
        struct.pack("!H", len(stamp.extension_bytes)), stamp.extension_bytes,
    ))  # fmt: skip


def identities(leaf: x509.Certificate) -> tuple[str, ...]:
    """Who the certificate was issued to: mail addresses and URIs. Empty when it names nobody."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = names.get_values_for_type(x509.RFC822Name) + names.get_values_for_type(
            x509.UniformResourceIdentifier
        )
        others = [one for one in names.get_values_for_type(x509.OtherName) if one.type_id == _OTHER_NAME]
    except (*_UNREADABLE, x509.ExtensionNotFound):
        return ()
    return tuple(found) + tuple(text for one in others if (text := _utf8_string(one.value)))


def issuer_of(leaf: x509.Certificate) -> str | None:
    """Who checked that identity (an OpenID issuer)."""
    for oid in (_ISSUER_V2, _ISSUER_V1):
        try:
            value = leaf.extensions.get_extension_for_oid(oid).value
        except (*_UNREADABLE, x509.ExtensionNotFound):
            continue
        if not isinstance(value, x509.UnrecognizedExtension):
            continue
        return _utf8_string(value.value) if oid == _ISSUER_V2 else value.value.decode("utf-8", "replace")
    return None


def require_identity(leaf: x509.Certificate, identity: str, issuer: str) -> None:
    """Raises SignatureRefused, which names who signed."""
    found, by = identities(leaf), issuer_of(leaf)
    if identity not in found:
        raise SignatureRefused(
            f"signed by {', '.join(found)[:200] or 'nobody that is named'}, not by {identity}"
        )
    if by != issuer:
        raise SignatureRefused(
            f"the signer's identity was checked by {(by or 'nobody')[:200]}, not by {issuer}"
        )


def _utf8_string(der: bytes) -> str | None:
    """A DER UTF8String of at most 64 KiB."""
    if len(der) < 2 or der[0] != 0x0C:
        return None
    length, at = der[1], 2
    if length & 0x80:
        count = length & 0x7F
        if not 1 <= count <= 2:
            return None
        length, at = int.from_bytes(der[2 : 2 + count], "big"), 2 + count
    text = der[at:]
    return text.decode("utf-8", "replace") if len(text) == length else None
