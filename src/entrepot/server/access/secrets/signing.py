"""Signed tokens (JWS; ES256 or Ed25519) and the keys that sign them.

What a token says about its own verification is never believed: the algorithm comes from our key record, the
key from our table by its `kid`, and a header with `jwk`, `jku`, `x5u`, `x5c` or `crit` is refused. An unknown
`kid` reads nothing and asks nobody.

`kid` is the fingerprint a Docker Registry computes of the certificate in its `rootcertbundle`: SHA-256 of
the public key (SubjectPublicKeyInfo DER), 30 bytes, base32, in twelve groups of four. Tokens meant for such a
registry carry the certificate in `x5c` as well, which is what its newer releases look at. They are ES256
whatever ours are: its older releases end when they read an Ed25519 certificate.
"""

from __future__ import annotations

import base64
import datetime as dt
import enum
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import NameOID

from entrepot.server.access.decision.errors import InvalidToken

__all__ = ["MAX_TOKEN_BYTES", "SKEW_S", "Algorithm", "KeyRing", "SigningKey", "generate_key", "key_id"]


class Algorithm(enum.StrEnum):
    """As the header of a token names it (RFC 7518, RFC 9864)."""

    ES256 = "ES256"
    ED25519 = "Ed25519"


PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
SKEW_S: Final = 30
"""How far another machine's clock may be off."""
MAX_TOKEN_BYTES: Final = 16 * 1024
_KID: Final = re.compile(r"[A-Z2-7]{4}(:[A-Z2-7]{4}){11}\Z")
_FORBIDDEN_HEADERS: Final = frozenset(
    {"jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip", "enc"}
)
_COORDINATE_BYTES: Final = 32
_CERTIFICATE_LIFE: Final = dt.timedelta(days=365 * 10)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One key: signs from `active_at`, is believed until `retired_at`. Times are seconds since 1970."""

    kid: str
    private: PrivateKey
    certificate: x509.Certificate
    active_at: float
    retired_at: float | None = None

    @property
    def algorithm(self) -> Algorithm:
        """What kind of key it is decides; no token does."""
        return Algorithm.ES256 if isinstance(self.private, ec.EllipticCurvePrivateKey) else Algorithm.ED25519

    def sign(self, data: bytes) -> bytes:
        """64 bytes, as JWS has them (RFC 7518 §3.4, RFC 8037 §3.1)."""
        if isinstance(self.private, ed25519.Ed25519PrivateKey):
            return self.private.sign(data)
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(_COORDINATE_BYTES, "big") + s.to_bytes(_COORDINATE_BYTES, "big")

    def is_signed(self, signature: bytes, data: bytes) -> bool:
        """Whether that is its signature."""
        try:
            if isinstance(self.private, ed25519.Ed25519PrivateKey):
                self.private.public_key().verify(signature, data)
            else:
                r = int.from_bytes(signature[:_COORDINATE_BYTES], "big")
                s = int.from_bytes(signature[_COORDINATE_BYTES:], "big")
                self.private.public_key().verify(encode_dss_signature(r, s), data, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True

    @property
    def certificate_pem(self) -> str:
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    def private_pem(self) -> bytes:
        return self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def load(
        cls, private_pem: bytes, certificate_pem: str, *, active_at: float, retired_at: float | None
    ) -> SigningKey:
        private = serialization.load_pem_private_key(private_pem, password=None)
        if not isinstance(private, PrivateKey):
            raise InvalidToken("the signing key is of a kind that is not known here")
        return cls(
            kid=key_id(private.public_key()),
            private=private,
            certificate=x509.load_pem_x509_certificate(certificate_pem.encode()),
            active_at=active_at,
            retired_at=retired_at,
        )


def key_id(public: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> str:
    """The fingerprint by which a Docker Registry knows a key."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    text = base64.b32encode(hashlib.sha256(der).digest()[:30]).decode()
    return ":".join(text[i : i + 4] for i in range(0, len(text), 4))


def generate_key(
    *, issuer: str, now: float, active_at: float | None = None, algorithm: Algorithm = Algorithm.ES256
) -> SigningKey:
    """A new key with a certificate of its own."""
    private = _generate(algorithm)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{issuer} token signing"[:64])])
    start = dt.datetime.fromtimestamp(now, dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - dt.timedelta(days=1))
        .not_valid_after(start + _CERTIFICATE_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256() if algorithm is Algorithm.ES256 else None)
    )
    return SigningKey(
        kid=key_id(private.public_key()),
        private=private,
        certificate=certificate,
        active_at=now if active_at is None else active_at,
    )


def _generate(algorithm: Algorithm) -> PrivateKey:
    match algorithm:
        case Algorithm.ES256:
            return ec.generate_private_key(ec.SECP256R1())
        case Algorithm.ED25519:
            return ed25519.Ed25519PrivateKey.generate()
    assert_never(algorithm)


class KeyRing:
    """The keys of this registry. Immutable; a rotation makes another ring."""

    def __init__(self, keys: tuple[SigningKey, ...], preferred: Algorithm = Algorithm.ES256) -> None:
        """`preferred` signs our own tokens, once a key of that kind is active."""
        self.keys = keys
        self.preferred = preferred
        self._by_kid = {key.kid: key for key in keys}

    def signer(self, now: float, algorithm: Algorithm | None = None) -> SigningKey:
        """The newest key that is active: of `algorithm`, else rather of the preferred one.

        Raises LookupError when there is none.
        """
        usable = [k for k in self.keys if k.active_at <= now and (k.retired_at is None or now < k.retired_at)]
        fitting = [key for key in usable if key.algorithm is (algorithm or self.preferred)]
        if algorithm is None:
            fitting = fitting or usable
        if not fitting:
            raise LookupError("no signing key is active")
        return max(fitting, key=lambda key: key.active_at)

    def certificates(self) -> str:
        """PEM of the certificates for a Docker Registry's `rootcertbundle`; of ES256 keys only."""
        return "".join(key.certificate_pem for key in self.keys if key.algorithm is Algorithm.ES256)

    def sign(self, claims: Mapping[str, Any], *, now: float, with_certificate: bool = False) -> str:
        """`with_certificate`: for another registry."""
        key = self.signer(now, Algorithm.ES256 if with_certificate else None)
        header: dict[str, Any] = {"alg": key.algorithm.value, "kid": key.kid, "typ": "JWT"}
        if with_certificate:
            der = key.certificate.public_bytes(serialization.Encoding.DER)
            header["x5c"] = [base64.b64encode(der).decode()]
        signed = f"{_b64(_json(header))}.{_b64(_json(claims))}"
        return f"{signed}.{_b64(key.sign(signed.encode()))}"

    def verify(self, token: str, *, issuer: str, audience: str, now: float) -> dict[str, Any]:
        """The claims. Raises InvalidToken; nothing in the message repeats the token."""
        header, claims, signed, signature = _parse(token)
        key = self._key_for(header, now)
        if not key.is_signed(signature, signed.encode()):
            raise InvalidToken("the token's signature is wrong")
        _check_claims(claims, issuer=issuer, audience=audience, now=now)
        return claims

    def _key_for(self, header: dict[str, Any], now: float) -> SigningKey:
        if _FORBIDDEN_HEADERS & header.keys():
            raise InvalidToken("the token brings its own key; only this registry's keys count")
        kid = header.get("kid")
        key = self._by_kid.get(kid) if isinstance(kid, str) and _KID.match(kid) else None
        if key is None or header.get("alg") != key.algorithm:
            raise InvalidToken("the token was not signed by this registry")
        if key.retired_at is not None and now >= key.retired_at:
            raise InvalidToken("the token's key has been retired")
        return key


def _check_claims(claims: dict[str, Any], *, issuer: str, audience: str, now: float) -> None:
    times = {name: claims.get(name) for name in ("iat", "nbf", "exp")}
    if not all(isinstance(value, int) and not isinstance(value, bool) for value in times.values()):
        raise InvalidToken("the token lacks iat, nbf or exp")
    if claims.get("iss") != issuer or claims.get("aud") != audience or not isinstance(claims.get("jti"), str):
        raise InvalidToken("the token is for another registry")
    if now >= claims["exp"]:
        raise InvalidToken("the token has expired")
    if claims["nbf"] > now + SKEW_S or claims["iat"] > now + SKEW_S:
        raise InvalidToken("the token is not valid yet; compare the clocks")


def _parse(token: str) -> tuple[dict[str, Any], dict[str, Any], str, bytes]:
    if len(token) > MAX_TOKEN_BYTES:
        raise InvalidToken("the token is too long")
    parts = token.split(".")
    if len(parts) != 3:
        raise InvalidToken("the token is malformed")
    try:
        header, claims = json.loads(_unb64(parts[0])), json.loads(_unb64(parts[1]))
        signature = _unb64(parts[2])
    except (ValueError, RecursionError):
        raise InvalidToken("the token is malformed") from None
    if (
        not isinstance(header, dict)
        or not isinstance(claims, dict)
        or len(signature) != 2 * _COORDINATE_BYTES
    ):
        raise InvalidToken("the token is malformed")
    return header, claims, f"{parts[0]}.{parts[1]}", signature


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unb64(text: str) -> bytes:
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
