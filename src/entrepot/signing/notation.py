"""Notation's signatures (Notary Project): JWS and COSE envelopes, read into one shape, and JWS ones made.

Nothing is believed here: `notation_trust` decides.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from entrepot.oci.descriptor import Descriptor
from entrepot.signing.bundle import load_certificate
from entrepot.signing.errors import InvalidTrust, SignatureRefused, UnreadableSignature
from entrepot.signing.fields import Fields, decode_base64
from entrepot.signing.keys import PublicKey, describe_key, key_bytes
from entrepot.signing.private import PrivateKey, public_of
from entrepot.signing.proofs import certified_key

ARTIFACT = "application/vnd.cncf.notary.signature"
JWS, COSE = "application/jose+json", "application/cose"
PAYLOAD = "application/vnd.cncf.notary.payload.v1+json"
THUMBPRINTS = "io.cncf.notary.x509chain.thumbprint#S256"
X509, SIGNING_AUTHORITY = "notary.x509", "notary.x509.signingAuthority"
_PREFIX = "io.cncf.notary."
_SCHEME, _EXPIRY = _PREFIX + "signingScheme", _PREFIX + "expiry"
_TIME, _AUTHENTIC = _PREFIX + "signingTime", _PREFIX + "authenticSigningTime"
_UNDERSTOOD = {_SCHEME, _EXPIRY, _AUTHENTIC}
_COSE_NAMES = {-7: "ES256", -35: "ES384", -36: "ES512", -37: "PS256", -38: "PS384", -39: "PS512"}
_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512(),
}  # fmt: skip
MAX_BYTES = 1 << 20
MAX_CHAIN = 10


@dataclass(frozen=True, slots=True)
class NotationSignature:
    """An envelope as it is. The signature is not checked yet."""

    target: Fields
    """The descriptor that was signed."""
    algorithm: str
    scheme: str
    signed_at: datetime
    """In the signer's own word; under the scheme of signing authorities, in theirs."""
    expires: datetime | None
    chain: tuple[x509.Certificate, ...]
    """From the signer to the root."""
    signature: bytes
    signed_bytes: bytes
    stamp: bytes | None
    """A timestamp token about the signature."""


def parse_notation(content: bytes, media_type: str) -> NotationSignature:
    """Raises UnreadableSignature."""
    if len(content) > MAX_BYTES:
        raise UnreadableSignature(f"envelope: larger than {MAX_BYTES >> 20} MiB")
    if media_type == JWS:
        return _parse_jws(Fields.parse(content, "envelope"))
    if media_type == COSE:
        return _parse_cose(content)
    raise UnreadableSignature(f"envelope: the type {media_type[:80]!r} is not known")


def _parse_jws(envelope: Fields) -> NotationSignature:
    head = Fields.parse(envelope.data("protected"), "envelope: protected")
    unprotected = envelope.object("header")
    critical = head.values.get("crit")
    _require_critical(critical if isinstance(critical, list) else [], head.values.keys())
    if head.text("cty") != PAYLOAD:
        raise UnreadableSignature("envelope: its payload is of another type")
    scheme = _scheme(head.text(_SCHEME))
    stamp = unprotected.optional_text(_PREFIX + "timestampSignature")
    signed = f"{envelope.text('protected')}.{envelope.text('payload')}"
    return NotationSignature(
        target=Fields.parse(envelope.data("payload"), "payload").object("targetArtifact"),
        algorithm=head.text("alg"),
        scheme=scheme,
        signed_at=_time(head.text(_AUTHENTIC if scheme == SIGNING_AUTHORITY else _TIME)),
        expires=_time(head.text(_EXPIRY)) if head.has(_EXPIRY) else None,
        chain=_chain(unprotected.datas("x5c")),
        signature=envelope.data("signature"),
        signed_bytes=signed.encode("ascii", "replace"),
        stamp=decode_base64(stamp, "envelope: timestamp") if stamp else None,
    )


def _parse_cose(content: bytes) -> NotationSignature:
    import cbor2

    tagged = _cbor(content)
    if (
        not isinstance(tagged, cbor2.CBORTag)
        or tagged.tag != 18
        or not isinstance(tagged.value, (list, tuple))
    ):
        raise UnreadableSignature("envelope: it is no COSE_Sign1")
    parts = list(tagged.value)
    if len(parts) != 4 or not all(isinstance(parts[at], bytes) for at in (0, 2, 3)):
        raise UnreadableSignature("envelope: it is no COSE_Sign1 with a payload")
    protected, unprotected = _cbor(parts[0]), parts[1]
    if not isinstance(protected, Mapping) or not isinstance(unprotected, Mapping):
        raise UnreadableSignature("envelope: its headers are no maps")
    critical = protected.get(2)
    _require_critical(list(critical) if isinstance(critical, (list, tuple)) else [], protected.keys())
    if protected.get(3) != PAYLOAD:
        raise UnreadableSignature("envelope: its payload is of another type")
    scheme = _scheme(protected.get(_SCHEME))
    chain = unprotected.get(33, protected.get(33))
    ders = [chain] if isinstance(chain, bytes) else list(chain) if isinstance(chain, (list, tuple)) else []
    expires, stamp = protected.get(_EXPIRY), unprotected.get(_PREFIX + "timestampSignature")
    return NotationSignature(
        target=Fields.parse(parts[2], "payload").object("targetArtifact"),
        algorithm=_COSE_NAMES.get(_whole(protected.get(1)), "?"),
        scheme=scheme,
        signed_at=_date(protected.get(_AUTHENTIC if scheme == SIGNING_AUTHORITY else _TIME)),
        expires=_date(expires) if expires is not None else None,
        chain=_chain([one for one in ders if isinstance(one, bytes)]),
        signature=parts[3],
        signed_bytes=cbor2.dumps(["Signature1", parts[0], b"", parts[2]]),
        stamp=stamp if isinstance(stamp, bytes) else None,
    )


def _cbor(raw: bytes) -> Any:
    import cbor2

    stream = io.BytesIO(raw)
    try:
        value = cbor2.CBORDecoder(stream).decode()
    except Exception as error:
        raise UnreadableSignature("envelope: it is not CBOR") from error
    if stream.tell() < len(raw) and stream.read(1):
        raise UnreadableSignature("envelope: there is more behind it")
    return value


def _whole(value: object) -> int:
    return value if type(value) is int else 0


def _require_critical(names: list[Any], present: Any) -> None:
    """What has to be understood is; and what is critical by the specification is named so."""
    unknown = [str(name)[:60] for name in names if not isinstance(name, str) or name not in _UNDERSTOOD]
    if unknown:
        raise UnreadableSignature(f"envelope: it asks for {', '.join(unknown)}, which is not known here")
    missing = [name for name in _UNDERSTOOD if name in present and name not in names]
    if missing or _SCHEME not in names:
        raise UnreadableSignature("envelope: its critical headers are not named as such")


def _scheme(value: object) -> str:
    if value not in (X509, SIGNING_AUTHORITY):
        raise UnreadableSignature(f"envelope: the signing scheme {str(value)[:60]!r} is not known")
    return str(value)


def _time(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UnreadableSignature("envelope: a time in it cannot be read") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _date(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise UnreadableSignature("envelope: a time in it cannot be read")
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _chain(ders: list[bytes]) -> tuple[x509.Certificate, ...]:
    if not 0 < len(ders) <= MAX_CHAIN:
        raise UnreadableSignature(f"envelope: {len(ders)} certificates, 1 to {MAX_CHAIN} are expected")
    return tuple(load_certificate(der, "envelope") for der in ders)


def check_integrity(found: NotationSignature, image: Descriptor) -> None:
    """That the signer's key signed this, and that it is about this manifest. Raises SignatureRefused."""
    target = found.target
    if target.text("digest") != str(image.digest):
        raise SignatureRefused(f"it is of another digest: {target.text('digest')[:200]}")
    if target.text("mediaType") != image.media_type or target.number("size") != image.size:
        raise SignatureRefused("it is of a manifest of another type or size")
    key = certified_key(found.chain[0])
    if found.algorithm != algorithm_of(key):
        raise SignatureRefused(
            f"the algorithm {found.algorithm[:20]!r} is not that of the {describe_key(key)} key"
        )
    if not _verifies(key, found.signature, found.signed_bytes, found.algorithm):
        raise SignatureRefused(f"wrong signature for this {describe_key(key)} key")


def algorithm_of(key: PublicKey) -> str:
    """The only one the specification has for a key. Raises SignatureRefused."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {256: "ES256", 384: "ES384", 521: "ES512"}[key.curve.key_size]
    if isinstance(key, rsa.RSAPublicKey) and key.key_size in (2048, 3072, 4096):
        return {2048: "PS256", 3072: "PS384", 4096: "PS512"}[key.key_size]
    raise SignatureRefused(f"notation signs with no {describe_key(key)} keys")


def _verifies(key: PublicKey, signature: bytes, signed: bytes, algorithm: str) -> bool:
    chosen = _HASHES[algorithm[2:]]
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            size = (key.curve.key_size + 7) // 8
            if len(signature) != 2 * size:
                return False
            r, s = int.from_bytes(signature[:size], "big"), int.from_bytes(signature[size:], "big")
            key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(chosen))
        elif isinstance(key, rsa.RSAPublicKey):
            pss = padding.PSS(padding.MGF1(chosen), chosen.digest_size)
            key.verify(signature, signed, pss, chosen)
        else:
            return False
    except InvalidSignature:
        return False
    return True


def make_notation(
    image: Descriptor,
    key: PrivateKey,
    chain: tuple[x509.Certificate, ...],
    *,
    annotations: Mapping[str, str] | None = None,
    expires_in: timedelta | None = None,
    now: datetime | None = None,
) -> bytes:
    """A JWS envelope. `chain` begins with the certificate of the key. Raises InvalidTrust if not."""
    try:
        public = certified_key(chain[0])
        algorithm = algorithm_of(public)
    except SignatureRefused as error:
        raise InvalidTrust(error.message) from error
    if key_bytes(public) != key_bytes(public_of(key)):
        raise InvalidTrust("the first certificate is not that of the key", hint="begin the chain with it")
    at = (now or datetime.now(UTC)).replace(microsecond=0)
    target: dict[str, Any] = {
        "mediaType": image.media_type, "digest": str(image.digest), "size": image.size
    }  # fmt: skip
    if annotations:
        target["annotations"] = dict(annotations)
    head: dict[str, Any] = {
        "alg": algorithm, "crit": [_SCHEME], "cty": PAYLOAD, _SCHEME: X509, _TIME: _rfc3339(at)
    }  # fmt: skip
    if expires_in is not None:
        head["crit"].append(_EXPIRY)
        head[_EXPIRY] = _rfc3339(at + expires_in)
    protected, payload = _url(_json(head)), _url(_json({"targetArtifact": target}))
    return _json({
        "payload": payload,
        "protected": protected,
        "header": {
            "x5c": [base64.b64encode(one.public_bytes(Encoding.DER)).decode() for one in chain],
            _PREFIX + "signingAgent": "entrepot",
        },
        "signature": _url(_sign(key, f"{protected}.{payload}".encode(), algorithm)),
    })  # fmt: skip


def thumbprints(chain: tuple[x509.Certificate, ...]) -> str:
    """The annotation by which notation finds signatures."""
    return json.dumps([one.fingerprint(hashes.SHA256()).hex() for one in chain], separators=(",", ":"))


def _sign(key: PrivateKey, signed: bytes, algorithm: str) -> bytes:
    chosen = _HASHES[algorithm[2:]]
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PSS(padding.MGF1(chosen), chosen.digest_size), chosen)
    assert not isinstance(key, ed25519.Ed25519PrivateKey)  # algorithm_of refuses it
    r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(chosen)))
    size = (key.curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def _rfc3339(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _json(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
