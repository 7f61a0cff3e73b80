"""`verify_bundle`: whether a sigstore bundle is a signature of this artifact by whom the caller trusts."""

from __future__ import annotations

from datetime import datetime

from entrepot.signing import keyless
from entrepot.signing.bundle import Bundle, parse_bundle
from entrepot.signing.dsse import Statement, parse_statement, require_subject
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.keys import PublicKey, check_signature, describe_key, key_hint
from entrepot.signing.logbody import LogEvidence
from entrepot.signing.proofs import certified_key, check_times
from entrepot.signing.signed import Signed
from entrepot.signing.trustroot import TrustRoot
from entrepot.signing.verdict import ByIdentity, ByKey, Trusted, Verified


def verify_bundle(raw: bytes, artifact: Signed, trusted: Trusted, root: TrustRoot | None) -> Verified:
    """Raises SignatureRefused with the reason; InvalidTrust when an identity comes without a trust root.

    With a key, log entries and timestamps are checked when there is a trust root to check them by.
    """
    bundle = parse_bundle(raw)
    if isinstance(trusted, ByKey):
        return _by_key(bundle, artifact, trusted, root)
    if root is None:
        raise InvalidTrust("an identity needs a trust root to be verified by", hint="give --trusted-root")
    return _by_identity(bundle, artifact, trusted, root)


def _by_key(bundle: Bundle, artifact: Signed, trusted: ByKey, root: TrustRoot | None) -> Verified:
    if bundle.certificate is not None:
        raise SignatureRefused(
            "it was signed with a certificate, not with a key of one's own",
            hint="verify it by identity and issuer",
        )
    key = trusted.key
    try:
        evidence, statement = _evidence(bundle, artifact, key)
    except SignatureRefused as error:
        if bundle.hint and len(bundle.hint) == len(key_hint(key)) and bundle.hint != key_hint(key):
            raise type(error)(f"{error.message} (the bundle names another key)", hint=error.hint) from error
        raise
    signer = f"{describe_key(key)} key {trusted.name}"
    if root is None:
        left = bundle.entries or bundle.timestamps
        notes = ("log entries and timestamps were not checked: no trust root",) if left else ()
        return Verified(signer, statement=statement, notes=notes)
    times, claimed = check_times(
        bundle.entries, bundle.timestamps, evidence, root, needs_proof=bundle.version >= (0, 2)
    )
    notes = ("a timestamp is of no authority in the trust root",) if claimed else ()
    return Verified(signer, _first(times), _log_index(bundle), statement, notes)


def _by_identity(bundle: Bundle, artifact: Signed, trusted: ByIdentity, root: TrustRoot) -> Verified:
    if bundle.certificate is None:
        raise SignatureRefused("it was signed with a key, not by an identity", hint="verify it with --key")
    evidence, statement = _evidence(bundle, artifact, certified_key(bundle.certificate))
    times = keyless.check(bundle, evidence, artifact, trusted, root)
    return Verified(f"{trusted.identity} ({trusted.issuer})", _first(times), _log_index(bundle), statement)


def _evidence(bundle: Bundle, artifact: Signed, key: PublicKey) -> tuple[LogEvidence, Statement | None]:
    """That the signature is of this artifact and by this key. Raises SignatureRefused."""
    if bundle.envelope is not None:
        signed: Signed = bundle.envelope.signed()
        check_signature(key, bundle.signature, signed, "signature")
        statement = parse_statement(bundle.envelope.payload, bundle.envelope.payload_type)
        require_subject(statement, artifact)
        return LogEvidence(bundle.signature, signed, bundle.envelope, key, bundle.certificate), statement
    message = bundle.message
    assert message is not None
    if message.algorithm is not None and message.digest is not None:
        real = artifact.digest(message.algorithm)
        if real is not None and real != message.digest:
            raise SignatureRefused(
                f"it is of another digest: {message.algorithm}:{message.digest.hex()[:128]}"
            )
    check_signature(key, bundle.signature, artifact, "signature")
    return LogEvidence(bundle.signature, artifact, None, key, bundle.certificate), None


def _first(times: list[datetime]) -> datetime | None:
    return min(times) if times else None


def _log_index(bundle: Bundle) -> int | None:
    return bundle.entries[0].log_index if bundle.entries else None
