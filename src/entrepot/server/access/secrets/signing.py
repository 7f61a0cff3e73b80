"""Signed tokens (JWS; ES256 or Ed25519) and the keys that sign them.

What a token says about its own verification is never believed: the algorithm comes from our key record, the
key from our table by its `kid`, and a header that says more than `alg`, `kid` and `typ` (`jwk`, `jku`, `x5u`,
`x5c`, `crit` …) is refused. An unknown `kid` reads nothing and asks nobody.

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
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, assert_never

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey

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
_OWN_HEADERS: Final = frozenset({"alg", "kid", "typ"})
_CERTIFICATE_LIFE: Final = dt.timedelta(days=365 * 10)
_JWS: Final = jws.JWSRegistry(algorithms=tuple(Algorithm))


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


def _jwk(private: PrivateKey) -> ECKey | OKPKey:
    if isinstance(private, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(private)
    return OKPKey.import_key(private)


class KeyRing:
    """The keys of this registry. Immutable; a rotation makes another ring."""

    def __init__(self, keys: tuple[SigningKey, ...], preferred: Algorithm = Algorithm.ES256) -> None:
        """`preferred` signs our own tokens, once a key of that kind is active."""
        self.keys = keys
        self.preferred = preferred
        self._by_kid = {key.kid: key for key in keys}
        # Made once: making one from a key costs as much as a signature.
        self._jwks = {key.kid: _jwk(key.private) for key in keys}

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
        return jws.serialize_compact(header, msgspec.json.encode(claims), self._jwks[key.kid], registry=_JWS)

    def verify(self, token: str, *, issuer: str, audience: str, now: float) -> dict[str, Any]:
        """The claims. Raises InvalidToken; nothing in the message repeats the token."""
        if len(token) > MAX_TOKEN_BYTES:
            raise InvalidToken("the token is too long")
        try:
            parsed = jws.extract_compact(token.encode(), registry=_JWS)
            key = self._key_for(parsed.protected, now)
            if not jws.validate_compact(parsed, self._jwks[key.kid], registry=_JWS):
                raise InvalidToken("the token's signature is wrong")
            claims = msgspec.json.decode(parsed.payload, type=dict[str, Any])
        except (JoseError, msgspec.MsgspecError, ValueError, RecursionError):
            # The causes repeat pieces of the token.
            raise InvalidToken("the token is malformed") from None
        _check_claims(claims, issuer=issuer, audience=audience, now=now)
        return claims

    def _key_for(self, header: object, now: float) -> SigningKey:
        if not isinstance(header, dict):
            raise InvalidToken("the token is malformed")
        if header.keys() - _OWN_HEADERS:
            raise InvalidToken("the token says more about itself than this registry writes")
        kid = header.get("kid")
        key = self._by_kid.get(kid) if isinstance(kid, str) else None
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
