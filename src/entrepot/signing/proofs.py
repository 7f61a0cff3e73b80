"""What stands beside a signature: log entries, timestamps, the signer's certificate. Checked by ourselves.

Shared by managed keys, cosign's older form and log entries of kinds that the `sigstore` library refuses.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from entrepot.signing.bundle import LogEntry
from entrepot.signing.certificates import (
    check_chain,
    check_logged,
    check_profile,
    require_identity,
    require_valid,
)
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.keys import PublicKey, usable_key
from entrepot.signing.logbody import LogEvidence, check_body
from entrepot.signing.timestamps import check_timestamps
from entrepot.signing.translog import check_entry
from entrepot.signing.trustroot import TrustRoot
from entrepot.signing.verdict import ByIdentity, not_from_the_future


def check_entries(
    entries: tuple[LogEntry, ...], evidence: LogEvidence, root: TrustRoot, *, needs_proof: bool
) -> list[datetime]:
    """The times at which logs took the signature in. Raises SignatureRefused when one doesn't hold."""
    times = []
    for entry in entries:
        at = check_entry(entry, root, needs_proof=needs_proof)
        check_body(entry, evidence)
        if at is not None:
            times.append(not_from_the_future(at, "log entry"))
    return times


def check_signer(
    certificate: x509.Certificate,
    trusted: ByIdentity,
    root: TrustRoot,
    times: list[datetime],
    claimed: list[datetime],
) -> None:
    """That the certificate is the wanted signer's and was valid at every one of `times`.

    Times that nobody vouches for (`claimed`) prove nothing; one that contradicts the certificate is refused.
    Raises SignatureRefused.
    """
    require_identity(certificate, trusted.identity, trusted.issuer)
    check_profile(certificate)
    if not times:
        raise SignatureRefused("neither a log nor a timestamp authority says when the signature was made")
    issuers = [check_chain(certificate, root, at) for at in times]
    for at in claimed:
        require_valid(certificate, at, "the certificate")
    check_logged(certificate, issuers[0], root)


def check_times(
    entries: tuple[LogEntry, ...],
    stamps: tuple[bytes, ...],
    evidence: LogEvidence,
    root: TrustRoot,
    *,
    needs_proof: bool,
) -> tuple[list[datetime], list[datetime]]:
    """Log entries and timestamps of a signature: the times vouched for, and those that are not."""
    times = check_entries(entries, evidence, root, needs_proof=needs_proof)
    known, claimed = check_timestamps(stamps, evidence.signature, root)
    return times + known, claimed


def certified_key(certificate: x509.Certificate) -> PublicKey:
    """Raises SignatureRefused for kinds of keys that are not accepted."""
    try:
        return usable_key(certificate.public_key(), "the certificate's key")
    except (InvalidTrust, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SignatureRefused(f"the certificate's key cannot be used: {error}") from error
