"""Sigstore bundles 0.1, 0.2 and 0.3: a signature with all that is needed to check it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

from entrepot.signing.certificate_files import read_certificate
from entrepot.signing.dsse import Envelope, parse_envelope
from entrepot.signing.errors import UnreadableSignature
from entrepot.signing.fields import Fields

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
VERSIONS = {
    "application/vnd.dev.sigstore.bundle+json;version=0.1": (0, 1),
    "application/vnd.dev.sigstore.bundle+json;version=0.2": (0, 2),
    "application/vnd.dev.sigstore.bundle+json;version=0.3": (0, 3),
    BUNDLE: (0, 3),
}
MAX_BYTES = 32 << 20
MAX_ENTRIES = 32
MAX_TIMESTAMPS = 32


@dataclass(frozen=True, slots=True)
class InclusionProof:
    """That an entry is in a log's tree, and the log's signed word on that tree."""

    log_index: int
    tree_size: int
    root_hash: bytes
    hashes: tuple[bytes, ...]
    checkpoint: str | None


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What a transparency log holds about a signature."""

    log_index: int
    log_id: bytes
    kind: str
    version: str
    integrated: datetime | None
    promise: bytes | None
    """The log's signature of entry, index and time (SignedEntryTimestamp)."""
    proof: InclusionProof | None
    body: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A signature of content. The digest is what the signer says; it proves nothing."""

    signature: bytes
    algorithm: str | None
    digest: bytes | None


@dataclass(frozen=True, slots=True)
class Bundle:
    """Exactly one of `message` and `envelope` is there, and at most one of `certificate` and `hint`."""

    raw: bytes
    version: tuple[int, int]
    message: Message | None
    envelope: Envelope | None
    certificate: x509.Certificate | None
    hint: str | None
    entries: tuple[LogEntry, ...]
    timestamps: tuple[bytes, ...]

    @property
    def signature(self) -> bytes:
        if self.envelope is not None:
            return self.envelope.signature
        assert self.message is not None
        return self.message.signature


def parse_bundle(raw: bytes) -> Bundle:
    """Raises UnreadableSignature."""
    if len(raw) > MAX_BYTES:
        raise UnreadableSignature(f"bundle: larger than {MAX_BYTES >> 20} MiB")
    fields = Fields.parse(raw, "bundle")
    version = VERSIONS.get(fields.text("mediaType"))
    if version is None:
        raise UnreadableSignature(f"bundle: its mediaType {fields.text('mediaType')[:80]!r} is not known")
    if fields.has("messageSignature") == fields.has("dsseEnvelope"):
        raise UnreadableSignature("bundle: either messageSignature or dsseEnvelope is needed, and not both")
    material = fields.object("verificationMaterial")
    certificate, hint = _signer(material, version)
    entries = tuple(_entry(one) for one in material.objects("tlogEntries"))
    stamps = (
        material.object("timestampVerificationData") if material.has("timestampVerificationData") else None
    )
    timestamps = (
        [one.data("signedTimestamp") for one in stamps.objects("rfc3161Timestamps")] if stamps else []
    )
    if len(entries) > MAX_ENTRIES or len(timestamps) > MAX_TIMESTAMPS:
        raise UnreadableSignature(
            f"bundle: {len(entries)} log entries and {len(timestamps)} timestamps are too many"
        )
    if len(set(timestamps)) != len(timestamps):
        raise UnreadableSignature("bundle: the same timestamp twice")
    return Bundle(
        raw=raw,
        version=version,
        message=_message(fields.object("messageSignature")) if fields.has("messageSignature") else None,
        envelope=parse_envelope(fields.object("dsseEnvelope")) if fields.has("dsseEnvelope") else None,
        certificate=certificate,
        hint=hint,
        entries=entries,
        timestamps=tuple(timestamps),
    )


def _signer(material: Fields, version: tuple[int, int]) -> tuple[x509.Certificate | None, str | None]:
    named = [key for key in ("publicKey", "certificate", "x509CertificateChain") if material.has(key)]
    if len(named) != 1:
        raise UnreadableSignature("bundle: one of publicKey, certificate and x509CertificateChain is needed")
    if named == ["publicKey"]:
        return None, material.object("publicKey").optional_text("hint") or ""
    if named == ["certificate"]:
        return load_certificate(material.object("certificate").data("rawBytes"), "bundle"), None
    if version >= (0, 3):
        raise UnreadableSignature("bundle: a chain of certificates has no place in version 0.3")
    chain = material.object("x509CertificateChain").objects("certificates")
    if not chain:
        raise UnreadableSignature("bundle: the chain of certificates is empty")
    return load_certificate(chain[0].data("rawBytes"), "bundle"), None


def load_certificate(der: bytes, where: str) -> x509.Certificate:
    """Raises UnreadableSignature."""
    try:
        return read_certificate(der)
    except ValueError as error:
        raise UnreadableSignature(f"{where}: its certificate cannot be read") from error


def _message(fields: Fields) -> Message:
    signature = fields.data("signature")
    if not fields.has("messageDigest") or not fields.object("messageDigest").has("digest"):
        return Message(signature, None, None)
    digest = fields.object("messageDigest")
    return Message(signature, algorithm_name(digest), digest.data("digest"))


_ALGORITHMS = {
    "SHA2_256": "sha256", "SHA2_384": "sha384", "SHA2_512": "sha512",
    "1": "sha256", "2": "sha384", "3": "sha512",
}  # fmt: skip


def algorithm_name(fields: Fields) -> str:
    """`algorithm` as `hashlib` names it."""
    found = _ALGORITHMS.get(str(fields.values.get("algorithm")))
    if found is None:
        raise fields.wrong("algorithm", "is not known")
    return found


def _entry(fields: Fields) -> LogEntry:
    kind = fields.object("kindVersion")
    seconds = fields.number("integratedTime")
    promise = None
    if fields.has("inclusionPromise") and fields.object("inclusionPromise").values:
        promise = fields.object("inclusionPromise").data("signedEntryTimestamp")
    return LogEntry(
        log_index=fields.number("logIndex"),
        log_id=fields.object("logId").data("keyId"),
        kind=kind.text("kind"),
        version=kind.text("version"),
        integrated=from_seconds(seconds, fields.where) if seconds else None,
        promise=promise,
        proof=_proof(fields.object("inclusionProof")) if fields.has("inclusionProof") else None,
        body=fields.data("canonicalizedBody"),
    )


def from_seconds(seconds: int, where: str) -> datetime:
    """Raises UnreadableSignature for times no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise UnreadableSignature(f"{where}: {seconds} is no time") from error


def _proof(fields: Fields) -> InclusionProof:
    checkpoint = fields.object("checkpoint").text("envelope") if fields.has("checkpoint") else None
    return InclusionProof(
        log_index=fields.number("logIndex"),
        tree_size=fields.number("treeSize"),
        root_hash=fields.data("rootHash"),
        hashes=tuple(fields.datas("hashes")),
        checkpoint=checkpoint,
    )
