"""Signatures and attestations, made with a key of one's own: cosign's current form and its older one."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from entrepot.oci.digest import Digest
from entrepot.signing.bundle import BUNDLE
from entrepot.signing.dsse import IN_TOTO, STATEMENT_V1, pae
from entrepot.signing.keys import key_hint
from entrepot.signing.legacy import TYPE
from entrepot.signing.private import PrivateKey, public_of, sign

SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
"""The statement that says no more than "I signed this"."""


def make_statement(
    digest: Digest,
    predicate_type: str,
    predicate: Mapping[str, Any],
    *,
    name: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """An in-toto statement about one digest."""
    subject: dict[str, Any] = {"digest": {digest.algorithm: digest.hex}}
    if name:
        subject = {"name": name} | subject
    if annotations:
        subject["annotations"] = dict(annotations)
    return _json({
        "_type": STATEMENT_V1,
        "subject": [subject],
        "predicateType": predicate_type,
        "predicate": predicate,
    })  # fmt: skip


def make_bundle(statement: bytes, key: PrivateKey) -> bytes:
    """A bundle 0.3 with the statement in a signed envelope, and nothing beside it: no log, no timestamp."""
    envelope = make_envelope(statement, key)
    material = {
        "publicKey": {"hint": key_hint(public_of(key))},
        "tlogEntries": [],
        "timestampVerificationData": {"rfc3161Timestamps": []},
    }
    return _json({"mediaType": BUNDLE, "verificationMaterial": material, "dsseEnvelope": envelope})


def make_envelope(statement: bytes, key: PrivateKey) -> dict[str, Any]:
    """Hashed with what fits the key, as a bundle's verifiers expect."""
    return {
        "payload": _b64(statement),
        "payloadType": IN_TOTO,
        "signatures": [{"sig": _b64(sign(key, pae(IN_TOTO, statement))), "keyid": ""}],
    }


def make_simple_signing(
    digest: Digest, name: str, key: PrivateKey, annotations: Mapping[str, str] | None = None
) -> tuple[bytes, str]:
    """The document of cosign's older form, and its signature in base64: SHA-256 always, as cosign."""
    document = _json({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": str(digest)},
            "type": TYPE,
        },
        "optional": dict(annotations) if annotations else None,
    })  # fmt: skip
    return document, _b64(sign(key, document, algorithm="sha256"))


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
