"""What a log entry says, held against the signature beside it.

Without this a true entry about something else would do (CVE-2022-36056). Kinds: hashedrekord 0.0.1 and 0.0.2,
dsse 0.0.1 and 0.0.2, intoto 0.0.1 and 0.0.2.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from entrepot.signing.bundle import LogEntry, algorithm_name
from entrepot.signing.certificate_files import read_certificate
from entrepot.signing.dsse import Envelope
from entrepot.signing.errors import InvalidTrust, SignatureRefused, UnreadableSignature
from entrepot.signing.fields import Fields, decode_base64
from entrepot.signing.keys import PublicKey, key_bytes, load_public_key
from entrepot.signing.signed import Signed


@dataclass(frozen=True, slots=True)
class LogEvidence:
    """What an entry has to be about."""

    signature: bytes
    signed: Signed
    """What the signature is of; of an envelope, its payload with the type."""
    envelope: Envelope | None
    key: PublicKey
    certificate: x509.Certificate | None


def check_body(entry: LogEntry, evidence: LogEvidence) -> None:
    """Raises SignatureRefused when the entry is about another signature, content or signer."""
    fields = Fields.parse(entry.body, "log entry")
    if (fields.text("kind"), fields.text("apiVersion")) != (entry.kind, entry.version):
        raise SignatureRefused("log entry: its kind is another one than the bundle says")
    check = _KINDS.get((entry.kind, entry.version))
    if check is None:
        raise SignatureRefused(f"log entry: the kind {entry.kind[:40]} {entry.version[:20]} is not known")
    check(fields.object("spec"), evidence)


def _hashedrekord_1(spec: Fields, evidence: LogEvidence) -> None:
    signature = spec.object("signature")
    _same(signature.data("content") == evidence.signature, "signature")
    _same_signer(signature.object("publicKey").data("content"), evidence)
    found = spec.object("data").object("hash")
    algorithm = found.text("algorithm")
    if algorithm not in ("sha256", "sha384", "sha512"):
        raise found.wrong("algorithm", "is not known")
    real = evidence.signed.digest(algorithm)
    _same(real is not None and found.text("value").lower() == real.hex(), "digest")


def _hashedrekord_2(spec: Fields, evidence: LogEvidence) -> None:
    record = spec.object("hashedRekordV002")
    _same_signature_2(record.object("signature"), evidence)
    data = record.object("data")
    real = evidence.signed.digest(algorithm_name(data))
    _same(real is not None and data.data("digest") == real, "digest")


def _same_signature_2(signature: Fields, evidence: LogEvidence) -> None:
    """As the second version of the log writes it."""
    _same(signature.data("content") == evidence.signature, "signature")
    verifier = signature.object("verifier")
    named = verifier.object("publicKey" if verifier.has("publicKey") else "x509Certificate").data("rawBytes")
    _same_signer(named, evidence)


def _dsse_2(spec: Fields, evidence: LogEvidence) -> None:
    envelope = _envelope(evidence)
    record = spec.object("dsseV002")
    hashed = record.object("payloadHash")
    real = hashlib.new(algorithm_name(hashed), envelope.payload).digest()
    _same(hashed.data("digest") == real, "payload")
    signatures = record.objects("signatures")
    _same(len(signatures) == 1, "signature")
    _same_signature_2(signatures[0], evidence)


def _dsse_1(spec: Fields, evidence: LogEvidence) -> None:
    envelope = _envelope(evidence)
    _same_hash(spec.object("payloadHash"), envelope.payload)
    signatures = spec.objects("signatures")
    _same(len(signatures) == 1 and signatures[0].data("signature") == evidence.signature, "signature")
    _same_signer(signatures[0].data("verifier"), evidence)


def _intoto_2(spec: Fields, evidence: LogEvidence) -> None:
    """Signature and payload stand in base64 twice. The payload may have been left out by the log."""
    envelope = _envelope(evidence)
    content = spec.object("content")
    recorded = content.object("envelope")
    _same(recorded.text("payloadType") == envelope.payload_type, "type of payload")
    _same_hash(content.object("payloadHash"), envelope.payload)
    if recorded.has("payload"):
        _same(_twice(recorded, "payload") == envelope.payload, "payload")
    signatures = recorded.objects("signatures")
    _same(len(signatures) == 1 and _twice(signatures[0], "sig") == evidence.signature, "signature")
    _same_signer(signatures[0].data("publicKey"), evidence)


def _intoto_1(spec: Fields, evidence: LogEvidence) -> None:
    """It names no signature: payload and signer are all there is."""
    envelope = _envelope(evidence)
    _same_hash(spec.object("content").object("payloadHash"), envelope.payload)
    _same_signer(spec.data("publicKey"), evidence)


_KINDS: dict[tuple[str, str], Callable[[Fields, LogEvidence], None]] = {
    ("hashedrekord", "0.0.1"): _hashedrekord_1,
    ("hashedrekord", "0.0.2"): _hashedrekord_2,
    ("dsse", "0.0.1"): _dsse_1,
    ("dsse", "0.0.2"): _dsse_2,
    ("intoto", "0.0.1"): _intoto_1,
    ("intoto", "0.0.2"): _intoto_2,
}


def _envelope(evidence: LogEvidence) -> Envelope:
    if evidence.envelope is None:
        raise SignatureRefused("log entry: it is about an envelope, and the signature is of content")
    return evidence.envelope


def _twice(fields: Fields, key: str) -> bytes:
    inner = fields.data(key)
    try:
        text = inner.decode("ascii")
    except UnicodeDecodeError as error:
        raise UnreadableSignature(f"{fields.where}: {key} is not base64") from error
    return decode_base64(text, f"{fields.where}: {key}")


def _same(holds: bool, what: str) -> None:
    if not holds:
        raise SignatureRefused(f"log entry: it is about another {what}")


def _same_hash(fields: Fields, payload: bytes) -> None:
    _same(fields.text("algorithm") == "sha256", "digest")
    _same(fields.text("value").lower() == hashlib.sha256(payload).hexdigest(), "payload")


def _same_signer(recorded: bytes, evidence: LogEvidence) -> None:
    """A key or certificate, in PEM or DER: the certificate itself where the signature comes with one."""
    if evidence.certificate is not None:
        der = _certificate_der(recorded)
        _same(der == evidence.certificate.public_bytes(Encoding.DER), "certificate")
        return
    try:
        key = load_public_key(recorded, "log entry")
    except InvalidTrust as error:
        raise UnreadableSignature("log entry: its key cannot be read") from error
    _same(key_bytes(key) == key_bytes(evidence.key), "key")


def _certificate_der(recorded: bytes) -> bytes:
    try:
        return read_certificate(recorded).public_bytes(Encoding.DER)
    except ValueError as error:
        raise UnreadableSignature("log entry: its certificate cannot be read") from error
