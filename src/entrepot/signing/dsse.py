"""Envelopes with signatures of typed payloads (DSSE 1.0), and in-toto statements in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entrepot.signing.errors import SignatureRefused, UnreadableSignature
from entrepot.signing.fields import Fields
from entrepot.signing.signed import Signed, SignedBytes

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT_V1 = "https://in-toto.io/Statement/v1"
STATEMENT_V01 = "https://in-toto.io/Statement/v0.1"
MAX_SUBJECTS = 1024


@dataclass(frozen=True, slots=True)
class Envelope:
    """One payload with one signature. More signatures would be a question of which one counts; none do so."""

    payload: bytes
    payload_type: str
    signature: bytes
    key_id: str = ""

    def signed(self) -> SignedBytes:
        """What the signature is of: the payload with its type and both lengths (DSSE: PAE)."""
        return SignedBytes(pae(self.payload_type, self.payload))


def pae(payload_type: str, payload: bytes) -> bytes:
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def parse_envelope(fields: Fields) -> Envelope:
    """Raises UnreadableSignature."""
    signatures = fields.objects("signatures")
    if len(signatures) != 1:
        raise UnreadableSignature(
            f"{fields.where}: {len(signatures)} signatures, exactly one is expected in an envelope"
        )
    return Envelope(
        payload=fields.data("payload"),
        payload_type=fields.text("payloadType"),
        signature=signatures[0].data("sig"),
        key_id=signatures[0].optional_text("keyid") or "",
    )


@dataclass(frozen=True, slots=True)
class Statement:
    """Something said about things that are named by their digests (in-toto Attestation: Statement)."""

    subjects: tuple[Mapping[str, str], ...]
    """Of each, algorithm → digest in hex."""
    predicate_type: str
    predicate: Mapping[str, Any]

    def is_about(self, artifact: Signed) -> bool:
        """Every digest of a subject that can be compared is the artifact's, and at least one can be."""
        return any(_matches(subject, artifact) for subject in self.subjects)


def parse_statement(payload: bytes, payload_type: str = IN_TOTO) -> Statement:
    """Raises UnreadableSignature, also for versions of statements that nobody knows here."""
    if payload_type != IN_TOTO:
        raise UnreadableSignature(f"a payload of the type {payload_type[:80]!r} is no in-toto statement")
    fields = Fields.parse(payload, "statement")
    kind = fields.text("_type")
    if kind not in (STATEMENT_V1, STATEMENT_V01):
        raise UnreadableSignature(f"statement: its type {kind[:80]!r} is not known")
    found = fields.objects("subject")
    if not found or len(found) > MAX_SUBJECTS:
        raise UnreadableSignature(
            f"statement: it names {len(found)} subjects, 1 to {MAX_SUBJECTS} are expected"
        )
    subjects = []
    for subject in found:
        digests = subject.object("digest").values
        if not digests or not all(isinstance(value, str) for value in digests.values()):
            raise subject.wrong("digest", "does not map algorithms to digests")
        subjects.append({name.lower(): value.lower() for name, value in digests.items()})
    predicate = fields.values.get("predicate")
    if predicate is not None and not isinstance(predicate, dict):
        raise fields.wrong("predicate", "is not an object")
    return Statement(tuple(subjects), fields.text("predicateType"), predicate or {})


def require_subject(statement: Statement, artifact: Signed) -> None:
    """Raises SignatureRefused when the statement is about something else."""
    if not statement.is_about(artifact):
        named = ", ".join(f"{name}:{value}" for name, value in statement.subjects[0].items())
        raise SignatureRefused(f"the statement is about another digest: {named[:200]}")


def _matches(subject: Mapping[str, str], artifact: Signed) -> bool:
    compared = 0
    for algorithm in ("sha256", "sha384", "sha512"):
        said, real = subject.get(algorithm), None
        if said is not None:
            real = artifact.digest(algorithm)
        if real is None:
            continue
        if said != real.hex():
            return False
        compared += 1
    return compared > 0
