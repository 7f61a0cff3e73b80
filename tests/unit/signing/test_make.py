"""What we sign, with keys of all kinds, and what others' keys look like."""

import base64
import json
from typing import Any

import nacl.secret
import nacl.utils
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from entrepot.actions.sign import type_of_predicate
from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.keys import load_public_key
from entrepot.signing.legacy import SIGNATURE, SIMPLE_SIGNING, verify_layer
from entrepot.signing.make import SIGNATURE_PREDICATE, make_bundle, make_simple_signing, make_statement
from entrepot.signing.private import WrongPassword, load_private_key
from entrepot.signing.signed import SignedDigests
from entrepot.signing.verdict import ByKey
from entrepot.signing.verify import verify_bundle
from tests.support.sigstore import pem

DIGEST, OTHER = Digest.of(b"image"), Digest.of(b"other")
KEYS: dict[str, Any] = {
    "P-256": ec.generate_private_key(ec.SECP256R1()),
    "P-384": ec.generate_private_key(ec.SECP384R1()),
    "P-521": ec.generate_private_key(ec.SECP521R1()),
    "RSA": rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


def by_key(key: Any) -> ByKey:
    return ByKey(load_public_key(pem(key), "k"), "k")


def artifact(digest: Digest) -> SignedDigests:
    return SignedDigests({"sha256": bytes.fromhex(digest.hex)})


@pytest.mark.parametrize("kind", KEYS)
def test_a_bundle_verifies_by_its_key_and_for_its_digest_only(kind: str) -> None:
    raw = make_bundle(make_statement(DIGEST, SIGNATURE_PREDICATE, {}), KEYS[kind])
    assert verify_bundle(raw, artifact(DIGEST), by_key(KEYS[kind]), None).statement is not None
    with pytest.raises(SignatureRefused, match="another digest"):
        verify_bundle(raw, artifact(OTHER), by_key(KEYS[kind]), None)
    for other in KEYS.keys() - {kind}:
        with pytest.raises(SignatureRefused, match="the bundle names another key"):
            verify_bundle(raw, artifact(DIGEST), by_key(KEYS[other]), None)


@pytest.mark.parametrize("kind", KEYS)
def test_the_older_form_verifies_by_its_key_and_for_its_digest_only(kind: str) -> None:
    document, signature = make_simple_signing(DIGEST, "registry.example/app", KEYS[kind], {"build": "7"})
    notes = {SIGNATURE: signature}
    verify_layer(SIMPLE_SIGNING, document, notes, DIGEST, by_key(KEYS[kind]), None)
    with pytest.raises(SignatureRefused, match="another digest"):
        verify_layer(SIMPLE_SIGNING, document, notes, OTHER, by_key(KEYS[kind]), None)
    for other in KEYS.keys() - {kind}:
        with pytest.raises(SignatureRefused, match="signature"):
            verify_layer(SIMPLE_SIGNING, document, notes, DIGEST, by_key(KEYS[other]), None)


def _pem(key: Any, form: serialization.PrivateFormat, password: bytes | None = None) -> bytes:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, how)  # type: ignore[no-any-return]


def cosign_key(key: Any, password: bytes, *, label: str = "SIGSTORE", n: int = 1 << 10) -> bytes:
    """As `cosign generate-key-pair` writes it; with less work for the password than its 2^15."""
    inner = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    salt, nonce = nacl.utils.random(32), nacl.utils.random(24)
    secret = Scrypt(salt=salt, length=32, n=min(n, 1 << 14), r=8, p=1).derive(password)
    sealed = nacl.secret.SecretBox(secret).encrypt(inner, nonce).ciphertext
    document = {
        "kdf": {
            "name": "scrypt",
            "params": {"N": n, "r": 8, "p": 1},
            "salt": base64.b64encode(salt).decode(),
        },
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(nonce).decode()},
        "ciphertext": base64.b64encode(sealed).decode(),
    }
    text = base64.encodebytes(json.dumps(document).encode()).decode()
    name = f"ENCRYPTED {label} PRIVATE KEY"
    return f"-----BEGIN {name}-----\n{text}-----END {name}-----\n".encode()


def test_private_keys_are_read_in_the_forms_they_come_in() -> None:
    pkcs8, older = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
    for key in KEYS.values():
        assert pem(load_private_key(_pem(key, pkcs8), None, "k")) == pem(key)
        assert pem(load_private_key(_pem(key, pkcs8, b"pw"), b"pw", "k")) == pem(key)
    for kind in ("P-256", "RSA"):
        assert pem(load_private_key(_pem(KEYS[kind], older), None, "k")) == pem(KEYS[kind])
    for label in ("SIGSTORE", "COSIGN"):
        for password in (b"pw", b""):
            raw = cosign_key(KEYS["P-256"], password, label=label)
            assert pem(load_private_key(raw, password, "k")) == pem(KEYS["P-256"])


def test_a_password_that_is_missing_or_wrong_is_told_from_a_broken_key() -> None:
    pkcs8 = serialization.PrivateFormat.PKCS8
    for raw in (_pem(KEYS["P-256"], pkcs8, b"pw"), cosign_key(KEYS["P-256"], b"pw")):
        with pytest.raises(WrongPassword, match="is encrypted"):
            load_private_key(raw, None, "k")
        with pytest.raises(WrongPassword, match="does not open"):
            load_private_key(raw, b"guess", "k")


@pytest.mark.parametrize(
    "raw",
    [b"", b"nonsense", pem(KEYS["P-256"]), cosign_key(KEYS["P-256"], b"pw", n=1 << 30),
     b"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\ne30=\n-----END ENCRYPTED COSIGN PRIVATE KEY-----",
     _pem(ec.generate_private_key(ec.SECP224R1()), serialization.PrivateFormat.PKCS8),
     _pem(dsa.generate_private_key(1024), serialization.PrivateFormat.PKCS8)],
    ids=["nothing", "nonsense", "public key", "too costly to open", "empty box", "unknown curve", "DSA"],
)  # fmt: skip
def test_what_is_no_usable_private_key_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidTrust):
        load_private_key(raw, b"pw", "k")


def test_the_type_of_provenance_is_that_of_the_document() -> None:
    assert type_of_predicate("slsaprovenance", {"buildDefinition": {}}) == "https://slsa.dev/provenance/v1"
    assert type_of_predicate("slsaprovenance", {"builder": {}}) == "https://slsa.dev/provenance/v0.2"
    with pytest.raises(InvalidInput, match="no type of attestation 'x'"):
        type_of_predicate("x", {})
