"""Private keys: read (PKCS#8, older PEM forms, cosign's encrypted ones), and used to sign."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from entrepot.signing.errors import InvalidTrust
from entrepot.signing.fields import Fields
from entrepot.signing.keys import PublicKey, hash_of, usable_key

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_COSIGN = re.compile(
    rb"-----BEGIN ENCRYPTED (?:COSIGN|SIGSTORE) PRIVATE KEY-----([A-Za-z0-9+/=\s]*)-----END ENCRYPTED"
)
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512(),
}  # fmt: skip
_MAX_SCRYPT_BYTES = 512 << 20
"""More memory than this is not a key, but a way to stop the machine. cosign's own keys take 64 MiB."""


class WrongPassword(InvalidTrust):
    """The key is encrypted, and the password is missing or another one."""

    code = "wrong-key-password"


def is_encrypted(raw: bytes) -> bool:
    return b"ENCRYPTED" in raw


def load_private_key(raw: bytes, password: bytes | None, where: str) -> PrivateKey:
    """Raises InvalidTrust, WrongPassword. Neither tells anything of the key."""
    if is_encrypted(raw) and password is None:
        raise WrongPassword(
            f"{where}: the key is encrypted", hint="put its password into ENTREPOT_KEY_PASSWORD"
        )
    try:
        if found := _COSIGN.search(raw):
            key: object = serialization.load_der_private_key(
                _open_box(found[1], password or b"", where), None
            )
        else:
            key = serialization.load_pem_private_key(raw, password if is_encrypted(raw) else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if is_encrypted(raw):
            raise WrongPassword(f"{where}: the password does not open the key") from error
        raise InvalidTrust(
            f"{where}: not a private key that can be read", hint="a PEM file is needed: BEGIN PRIVATE KEY"
        ) from error
    if not isinstance(key, PrivateKey):
        raise InvalidTrust(f"{where}: keys of this kind are not supported", hint="ECDSA, RSA and Ed25519 are")
    usable_key(key.public_key(), where)
    return key


def _open_box(text: bytes, password: bytes, where: str) -> bytes:
    """go-securesystemslib's `encrypted`: scrypt and a NaCl secret box, in JSON."""
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        fields = Fields.parse(base64.b64decode(b"".join(text.split()), validate=True), where, InvalidTrust)
    except binascii.Error as error:
        raise InvalidTrust(f"{where}: not a private key that can be read") from error
    kdf, cipher = fields.object("kdf"), fields.object("cipher")
    if kdf.text("name") != "scrypt" or cipher.text("name") != "nacl/secretbox":
        raise InvalidTrust(f"{where}: the key is encrypted in a way that is not known")
    params = kdf.object("params")
    n, r, p = params.number("N"), params.number("r"), params.number("p")
    if not 1 < n <= 1 << 20 or not 0 < r <= 64 or not 0 < p <= 16 or 128 * n * r > _MAX_SCRYPT_BYTES:
        raise InvalidTrust(f"{where}: the key takes too much memory to open")
    secret = hashlib.scrypt(
        password, salt=kdf.data("salt"), n=n, r=r, p=p, maxmem=_MAX_SCRYPT_BYTES + (1 << 20), dklen=32
    )
    try:
        return SecretBox(secret).decrypt(fields.data("ciphertext"), cipher.data("nonce"))
    except (CryptoError, ValueError, TypeError) as error:
        raise WrongPassword(f"{where}: the password does not open the key") from error


def sign(key: PrivateKey, content: bytes, *, algorithm: str | None = None) -> bytes:
    """A signature as sigstore's verifiers take it. `algorithm` other than the key's own: cosign's SHA-256."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(content)
    chosen = _HASHES[algorithm or hash_of(key.public_key())]
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), chosen)
    return key.sign(content, ec.ECDSA(chosen))


def public_of(key: PrivateKey) -> PublicKey:
    return key.public_key()
