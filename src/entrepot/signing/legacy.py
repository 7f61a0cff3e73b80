"""cosign's older form: a signature in the annotations of a layer, below the tag `sha256-<hex>.sig` or `.att`.

The layer is a "simple signing" document, or a DSSE envelope. Its proof of time is the log's signed promise
(SignedEntryTimestamp); a proof of inclusion is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from cryptography import x509

from entrepot.oci.digest import Digest
from entrepot.signing.bundle import LogEntry, from_seconds
from entrepot.signing.certificate_files import read_certificate
from entrepot.signing.dsse import Envelope, Statement, parse_envelope, parse_statement, require_subject
from entrepot.signing.errors import InvalidTrust, SignatureRefused, UnreadableSignature
from entrepot.signing.fields import Fields, decode_base64
from entrepot.signing.keys import check_signature, describe_key
from entrepot.signing.logbody import LogEvidence
from entrepot.signing.proofs import certified_key, check_signer, check_times
from entrepot.signing.signed import Signed, SignedBytes, SignedDigests
from entrepot.signing.trustroot import TrustRoot
from entrepot.signing.verdict import ByKey, Trusted, Verified

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
CHAIN = "dev.sigstore.cosign/chain"
LOG = "dev.sigstore.cosign/bundle"
TIMESTAMP = "dev.sigstore.cosign/rfc3161timestamp"
TYPE = "cosign container image signature"


def verify_layer(
    media_type: str,
    content: bytes,
    annotations: Mapping[str, str],
    digest: Digest,
    trusted: Trusted,
    root: TrustRoot | None,
) -> Verified:
    """Whether this layer is a signature of the manifest `digest`. Raises SignatureRefused, InvalidTrust."""
    if media_type == ENVELOPE:
        envelope = parse_envelope(Fields.parse(content, "envelope"))
        signed: Signed = envelope.signed()
        statement = parse_statement(envelope.payload, envelope.payload_type)
        require_subject(statement, SignedDigests({digest.algorithm: bytes.fromhex(digest.hex)}))
        return _verify(envelope.signature, signed, envelope, statement, annotations, trusted, root)
    _require_digest(content, digest)
    signature = decode_base64(_annotation(annotations, SIGNATURE), "the signature's annotation")
    return _verify(signature, SignedBytes(content), None, None, annotations, trusted, root)


def _verify(
    signature: bytes,
    signed: Signed,
    envelope: Envelope | None,
    statement: Statement | None,
    annotations: Mapping[str, str],
    trusted: Trusted,
    root: TrustRoot | None,
) -> Verified:
    entries = (_entry(annotations[LOG]),) if annotations.get(LOG) else ()
    if isinstance(trusted, ByKey):
        check_signature(trusted.key, signature, signed, "signature")
        signer = f"{describe_key(trusted.key)} key {trusted.name}"
        if root is None or not entries:
            notes = ("the log entry was not checked: no trust root",) if entries else ()
            return Verified(signer, statement=statement, notes=notes)
        evidence = LogEvidence(signature, signed, envelope, trusted.key, None)
        times, _ = check_times(entries, (), evidence, root, needs_proof=False)
        return Verified(signer, _first(times), entries[0].log_index, statement)
    if root is None:
        raise InvalidTrust("an identity needs a trust root to be verified by", hint="give --trusted-root")
    if CERTIFICATE not in annotations:
        raise SignatureRefused("it was signed with a key, not by an identity", hint="verify it with --key")
    certificate = _certificate(annotations[CERTIFICATE])
    key = certified_key(certificate)
    check_signature(key, signature, signed, "signature")
    if not entries:
        raise SignatureRefused("there is no entry of a log, so nobody says when it was signed")
    evidence = LogEvidence(signature, signed, envelope, key, certificate)
    times, claimed = check_times(entries, _stamps(annotations), evidence, root, needs_proof=False)
    check_signer(certificate, trusted, root, times, claimed)
    return Verified(f"{trusted.identity} ({trusted.issuer})", _first(times), entries[0].log_index, statement)


def _require_digest(content: bytes, digest: Digest) -> None:
    critical = Fields.parse(content, "signed document").object("critical")
    image = critical.object("image")
    named = {key.lower(): value for key, value in image.values.items()}.get("docker-manifest-digest")
    if named != str(digest):
        raise SignatureRefused(f"it is of another digest: {str(named)[:200]}")
    if critical.text("type") not in (TYPE, "atomic container signature"):
        raise UnreadableSignature(f"signed document: its type {critical.text('type')[:80]!r} is not known")


def _annotation(annotations: Mapping[str, str], key: str) -> str:
    if not annotations.get(key):
        raise UnreadableSignature(f"the annotation {key} is missing")
    return annotations[key]


def _certificate(pem: str) -> x509.Certificate:
    try:
        return read_certificate(pem.encode())
    except ValueError as error:
        raise UnreadableSignature("the certificate in the annotations cannot be read") from error


def _entry(text: str) -> LogEntry:
    fields = Fields.parse(text.encode(), "log entry")
    payload = fields.object("Payload")
    body = payload.data("body")
    document = Fields.parse(body, "log entry")
    try:
        log_id = bytes.fromhex(payload.text("logID"))
    except ValueError as error:
        raise payload.wrong("logID", "is not hexadecimal") from error
    return LogEntry(
        log_index=payload.number("logIndex"),
        log_id=log_id,
        kind=document.text("kind"),
        version=document.text("apiVersion"),
        integrated=from_seconds(payload.number("integratedTime"), "log entry"),
        promise=fields.data("SignedEntryTimestamp"),
        proof=None,
        body=body,
    )


def _stamps(annotations: Mapping[str, str]) -> tuple[bytes, ...]:
    text = annotations.get(TIMESTAMP)
    return (Fields.parse(text.encode(), "timestamp").data("SignedRFC3161Timestamp"),) if text else ()


def _first(times: list[datetime]) -> datetime | None:
    return min(times) if times else None
