"""Signatures by identity: with a certificate that was valid for minutes, and proof that they were made then.

The `sigstore` library decides what it knows: all that its project makes today. It refuses log entries of the
kinds in OURS, which cosign, npm and the second log first wrote; those are checked by ourselves. To it
the end of a timestamp authority's validity lies outside, and to the format (a closed interval) inside: hence
`_library_root`. Its words are its own, so what it refuses is explained by our own checks where they find why.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from entrepot.signing.bundle import Bundle
from entrepot.signing.certificates import require_identity, require_valid
from entrepot.signing.errors import SignatureRefused
from entrepot.signing.logbody import LogEvidence
from entrepot.signing.proofs import check_signer, check_times
from entrepot.signing.signed import Signed
from entrepot.signing.timestamps import check_timestamps
from entrepot.signing.translog import require_same_tree
from entrepot.signing.trustroot import TrustRoot
from entrepot.signing.verdict import ByIdentity, not_from_the_future

if TYPE_CHECKING:
    from sigstore.verify import Verifier


OURS = {("intoto", "0.0.1"), ("intoto", "0.0.2"), ("dsse", "0.0.2")}


def check(
    bundle: Bundle, evidence: LogEvidence, artifact: Signed, trusted: ByIdentity, root: TrustRoot
) -> list[datetime]:
    """The times at which the signature is known to have been made. Raises SignatureRefused."""
    if len(bundle.entries) != 1:
        raise SignatureRefused(f"bundle: {len(bundle.entries)} log entries, exactly one is expected")
    assert bundle.certificate is not None
    require_identity(bundle.certificate, trusted.identity, trusted.issuer)
    if (bundle.entries[0].kind, bundle.entries[0].version) in OURS:
        return _check_ourselves(bundle, evidence, trusted, root)
    reason = _refusal_of_library(bundle, artifact, trusted, root)
    if reason is not None:
        _check_ourselves(bundle, evidence, trusted, root)
        raise SignatureRefused(reason)
    return _times(bundle, root)


def _check_ourselves(
    bundle: Bundle, evidence: LogEvidence, trusted: ByIdentity, root: TrustRoot
) -> list[datetime]:
    assert bundle.certificate is not None
    times, claimed = check_times(bundle.entries, bundle.timestamps, evidence, root, needs_proof=True)
    check_signer(bundle.certificate, trusted, root, times, claimed)
    return times


def _times(bundle: Bundle, root: TrustRoot) -> list[datetime]:
    """Of a bundle the library takes. What it does not look at is looked at here.

    That is: a time the log is not trusted for, a proof for a tree of another size than the checkpoint's, and
    timestamps of nobody known, which it passes over whatever they say.
    """
    entry, certificate = bundle.entries[0], bundle.certificate
    assert certificate is not None
    if entry.proof is not None and entry.proof.checkpoint is not None:
        require_same_tree(entry.proof)
    times, claimed = check_timestamps(bundle.timestamps, bundle.signature, root)
    for at in claimed:
        require_valid(certificate, at, "the certificate")
    if entry.integrated is None or entry.promise is None:
        return times
    log = root.log(entry.log_id)
    if log is not None and not log.period.holds(entry.integrated):
        raise SignatureRefused("log entry: its time is outside of the log's trusted time")
    return [*times, not_from_the_future(entry.integrated, "log entry")]


def _refusal_of_library(bundle: Bundle, artifact: Signed, trusted: ByIdentity, root: TrustRoot) -> str | None:
    from sigstore.hashes import Hashed
    from sigstore.models import Bundle as LibraryBundle
    from sigstore.verify.policy import AllOf, AnyOf, Identity, OIDCIssuer, OIDCIssuerV2
    from sigstore_models.common.v1 import HashAlgorithm

    try:
        parsed = LibraryBundle.from_json(bundle.raw)
        # Not `Identity(issuer=…)`: it reads the older of the two extensions only.
        issuer = AnyOf([OIDCIssuerV2(trusted.issuer), OIDCIssuer(trusted.issuer)])
        policy = AllOf([Identity(identity=trusted.identity), issuer])
        verifier = _verifier(root.raw)
        if bundle.envelope is not None:
            verifier.verify_dsse(parsed, policy)
        else:
            digest = artifact.digest("sha256")
            if digest is None:
                return "signature: the SHA-256 digest of the content is needed"
            hashed = Hashed(algorithm=HashAlgorithm.SHA2_256, digest=digest)
            verifier.verify_artifact(hashed, parsed, policy)
    except ImportError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it trips over in a stranger's bundle is a refusal
        text = " ".join(str(error).split())
        return text[:300] or type(error).__name__
    return None


@lru_cache(maxsize=8)
def _verifier(raw_root: bytes) -> Verifier:
    from sigstore.models import TrustedRoot
    from sigstore.verify import Verifier
    from sigstore_models.trustroot.v1 import TrustedRoot as Model

    return Verifier(trusted_root=TrustedRoot(Model.from_json(_library_root(raw_root))))


def _library_root(raw: bytes) -> bytes:
    """The trust root, with timestamp authorities trusted for a microsecond longer."""
    document: dict[str, Any] = json.loads(raw)
    for authority in document.get("timestampAuthorities") or []:
        period = authority.get("validFor") or {}
        if period.get("end"):
            end = datetime.fromisoformat(period["end"]) + timedelta(microseconds=1)
            period["end"] = end.isoformat()
    return json.dumps(document).encode()
