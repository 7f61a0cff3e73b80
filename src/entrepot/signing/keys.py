"""Public keys: read, named, and asked whether a signature is theirs.

Hashes follow sigstore's registry of algorithms: the one that fits the curve, else SHA-256. cosign hashes with
SHA-256 whatever the curve, so for the larger curves both are tried.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

from entrepot.signing.certificate_files import read_certificate
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.signed import Signed

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

MIN_RSA_BITS = 2048
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512(),
}  # fmt: skip
_OF_CURVE = {256: "sha256", 384: "sha384", 521: "sha512"}


def load_public_key(raw: bytes, where: str) -> PublicKey:
    """From PEM (a public key, or a certificate for its key) or DER. Raises InvalidTrust."""
    try:
        if b"-----BEGIN CERTIFICATE-----" in raw:
            key: object = read_certificate(raw).public_key()
        elif b"PRIVATE KEY-----" in raw:
            raise InvalidTrust(
                f"{where}: this is a private key", hint="give the public key that belongs to it"
            )
        elif b"-----BEGIN" in raw:
            key = serialization.load_pem_public_key(raw)
        else:
            key = serialization.load_der_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InvalidTrust(
            f"{where}: not a public key that can be read", hint="a PEM file is needed: BEGIN PUBLIC KEY"
        ) from error
    return usable_key(key, where)


def usable_key(key: object, where: str) -> PublicKey:
    """Raises InvalidTrust for kinds and sizes that are not accepted."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < MIN_RSA_BITS:
            raise InvalidTrust(f"{where}: an RSA key of {key.key_size} bits is too short")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)):
            raise InvalidTrust(f"{where}: keys on the curve {key.curve.name} are not supported")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise InvalidTrust(f"{where}: keys of this kind are not supported", hint="ECDSA, RSA and Ed25519 are")


def describe_key(key: PublicKey) -> str:
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA P-{key.curve.key_size}"
    return f"RSA {key.key_size}" if isinstance(key, rsa.RSAPublicKey) else "Ed25519"


def key_bytes(key: PublicKey) -> bytes:
    """The key as DER (SubjectPublicKeyInfo): equal for equal keys."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_pem(key: PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: PublicKey) -> bytes:
    """SHA-256 of the key as DER: what logs and bundles go by."""
    return hashlib.sha256(key_bytes(key)).digest()


def key_hint(key: PublicKey) -> str:
    """What a bundle's `publicKey.hint` says when cosign or we sign."""
    return base64.b64encode(key_id(key)).decode()


def hash_of(key: PublicKey) -> str:
    """The hash this key signs with."""
    return _OF_CURVE[key.curve.key_size] if isinstance(key, ec.EllipticCurvePublicKey) else "sha256"


def check_signature(key: PublicKey, signature: bytes, signed: Signed, what: str) -> None:
    """Whether `key` made `signature` of `signed`. Raises SignatureRefused; `what` begins its message."""
    if isinstance(key, ed25519.Ed25519PublicKey):
        content = signed.content()
        if content is None:
            raise SignatureRefused(
                f"{what}: an Ed25519 signature is of the content, and only its digest is known",
                hint="give the file itself",
            )
        try:
            key.verify(signature, content)
        except InvalidSignature:
            raise SignatureRefused(f"{what}: wrong signature for this {describe_key(key)} key") from None
        return
    algorithms = dict.fromkeys((hash_of(key), "sha256"))
    known = [(name, digest) for name in algorithms if (digest := signed.digest(name)) is not None]
    if not known:
        raise SignatureRefused(
            f"{what}: the {hash_of(key)} digest of the content is needed for this {describe_key(key)} key",
            hint="give the file itself",
        )
    if not any(_fits(key, signature, digest, _HASHES[name]) for name, digest in known):
        raise SignatureRefused(f"{what}: {_why_not(key, signature)}")


def _fits(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey,
    signature: bytes,
    digest: bytes,
    algorithm: hashes.HashAlgorithm,
) -> bool:
    prehashed = utils.Prehashed(algorithm)
    if isinstance(key, ec.EllipticCurvePublicKey):
        try:
            key.verify(signature, digest, ec.ECDSA(prehashed))
        except InvalidSignature:
            return False
        return True
    pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
    for scheme in (padding.PKCS1v15(), pss):
        try:
            key.verify(signature, digest, scheme, prehashed)
        except InvalidSignature:
            continue
        return True
    return False


def _why_not(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, signature: bytes) -> str:
    """The signature's shape tells which mistake it is."""
    shape = _shape(signature)
    if isinstance(key, rsa.RSAPublicKey):
        if len(signature) != (key.key_size + 7) // 8:
            return f"the signature was not made with an RSA key of {key.key_size} bits"
    elif shape is None:
        return "the signature is not one of an ECDSA key"
    elif shape > key.curve.key_size:
        return f"the signature was made with a key of another curve than P-{key.curve.key_size}"
    return f"wrong signature for this {describe_key(key)} key"


def _shape(signature: bytes) -> int | None:
    """How many bits an ECDSA signature's numbers have; None when it is no ECDSA signature."""
    try:
        return max(part.bit_length() for part in utils.decode_dss_signature(signature))
    except ValueError:
        return None
