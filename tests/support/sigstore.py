"""A sigstore of one's own: authority, log of certificates, transparency log and timestamp authority.

It writes what the real ones write, at any time one likes, so that all that can be wrong can be made wrong.
"""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.support import der

START = datetime(2026, 1, 1, tzinfo=UTC)
SIGNED = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
IDENTITY = "https://git.example/app/.ci/build.yml@refs/heads/main"
ISSUER = "https://issuer.example"
V3 = "application/vnd.dev.sigstore.bundle.v0.3+json"
V2 = "application/vnd.dev.sigstore.bundle+json;version=0.2"
V1 = "application/vnd.dev.sigstore.bundle+json;version=0.1"
_SCTS = "1.3.6.1.4.1.11129.2.4.2"
SHA256 = hashes.SHA256()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def new_key(curve: ec.EllipticCurve | None = None) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve or ec.SECP256R1())


def spki(key: Any) -> bytes:
    public = key.public_key() if hasattr(key, "public_key") else key
    return public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def pem(key: Any) -> bytes:
    public = key.public_key() if hasattr(key, "public_key") else key
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(key: Any, data: bytes) -> bytes:
    return key.sign(data, ec.ECDSA(SHA256))


def pae(payload: bytes, kind: str = "application/vnd.in-toto+json") -> bytes:
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(payload), payload)


def canonical(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":"), sort_keys=True).encode()


def statement(
    digest: str,
    predicate_type: str = "https://slsa.dev/provenance/v1",
    algorithm: str = "sha256",
    **changes: Any,
) -> bytes:
    document = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": "app", "digest": {algorithm: digest}}],
        "predicateType": predicate_type,
        "predicate": {},
    }
    return canonical({key: value for key, value in (document | changes).items() if value is not None})


@dataclass
class Signer:
    """A key with its certificate; or, without one, a key of one's own."""

    key: Any
    certificate: x509.Certificate | None = None

    @property
    def der(self) -> bytes:
        assert self.certificate is not None
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        if self.certificate is None:
            return pem(self.key)
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "sigstore.test"),
        x509.NameAttribute(NameOID.COMMON_NAME, name),
    ])  # fmt: skip


def _authority(name: str, key: Any, issuer: Signer | None = None) -> Signer:
    above = issuer or Signer(key)
    issued_by = issuer.certificate.subject if issuer and issuer.certificate else _named(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(START)
        .not_valid_after(START + timedelta(days=3650))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(_usage(certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(above.key.public_key()), critical=False
        )
    )
    return Signer(key, builder.sign(above.key, SHA256))


def _usage(*, certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not certificates, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, key_cert_sign=certificates, crl_sign=certificates,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


@dataclass
class Sigstore:
    """All of it, each part with keys of its own."""

    root: Signer = field(default_factory=lambda: _authority("root", new_key()))
    log_key: Any = field(default_factory=new_key)
    certificate_log_key: Any = field(default_factory=new_key)

    def __post_init__(self) -> None:
        self.issuer = _authority("issuer", new_key(), self.root)
        self.stamp_root = _authority("stamps", new_key())
        self.stamper = self._stamper()

    def _stamper(self) -> Signer:
        key = new_key()
        builder = (
            x509.CertificateBuilder()
            .subject_name(_named("stamper"))
            .issuer_name(_named("stamps"))
            .public_key(key.public_key())
            .serial_number(77)
            .not_valid_before(START)
            .not_valid_after(START + timedelta(days=3650))
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self.stamp_root.key.public_key()),
                critical=False,
            )
        )
        return Signer(key, builder.sign(self.stamp_root.key, SHA256))

    @property
    def log_id(self) -> bytes:
        return hashlib.sha256(spki(self.log_key)).digest()

    def trusted_root(self, **changes: Any) -> dict[str, Any]:
        return {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            "tlogs": [self._log(self.log_key, "https://log.test")],
            "certificateAuthorities": [self._chain(self.issuer, self.root)],
            "ctlogs": [self._log(self.certificate_log_key, "https://ct.test")],
            "timestampAuthorities": [self._chain(self.stamper, self.stamp_root)],
        } | changes

    def _log(self, key: Any, url: str) -> dict[str, Any]:
        return {
            "baseUrl": url, "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": b64(spki(key)), "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": START.isoformat()},
            },
            "logId": {"keyId": b64(hashlib.sha256(spki(key)).digest())},
        }  # fmt: skip

    def _chain(self, *signers: Signer) -> dict[str, Any]:
        return {
            "subject": {"organization": "sigstore.test", "commonName": "test"}, "uri": "https://ca.test",
            "certChain": {"certificates": [{"rawBytes": b64(one.der)} for one in signers]},
            "validFor": {"start": START.isoformat()},
        }  # fmt: skip

    def certify(
        self, *, identity: str = IDENTITY, issuer: str = ISSUER, at: datetime = SIGNED, key: Any = None,
        log_key: Any = None, by: Signer | None = None,
    ) -> Signer:  # fmt: skip
        """A certificate that is valid for ten minutes, from five seconds before `at`, and was logged."""
        key, by = key or new_key(), by or self.issuer
        assert by.certificate is not None
        start = at - timedelta(seconds=5)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(by.certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(start + timedelta(minutes=10))
            .add_extension(_usage(certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key()), critical=False
            )
            .add_extension(
                x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True
            )
            .add_extension(
                x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8"), der.utf8(issuer)),
                critical=False,
            )
        )
        body = builder.sign(by.key, SHA256).tbs_certificate_bytes
        stamps = self._logged(body, by, start, log_key or self.certificate_log_key)
        extension = x509.UnrecognizedExtension(x509.ObjectIdentifier(_SCTS), stamps)
        return Signer(key, builder.add_extension(extension, critical=False).sign(by.key, SHA256))

    def _logged(self, body: bytes, by: Signer, at: datetime, key: Any) -> bytes:
        """A list of one signed certificate timestamp (RFC 6962 3.2)."""
        issuer = hashlib.sha256(spki(by.key)).digest()
        time = int(at.timestamp() * 1000).to_bytes(8, "big")
        data = b"\0\0" + time + b"\0\1" + issuer + len(body).to_bytes(3, "big") + body + b"\0\0"
        signature = sign(key, data)
        log_id = hashlib.sha256(spki(key)).digest()
        one = b"\0" + log_id + time + b"\0\0" + b"\4\3" + len(signature).to_bytes(2, "big") + signature
        listed = len(one).to_bytes(2, "big") + one
        return der.octets(len(listed).to_bytes(2, "big") + listed)

    def entry(
        self, kind: str, version: str, spec: dict[str, Any], *, at: datetime | None = SIGNED,
        promise: bool = True, proof: bool = True, place: int = 2, size: int = 5,
    ) -> dict[str, Any]:  # fmt: skip
        """A log entry as a bundle holds it, at a place of a tree that has others beside it."""
        body = canonical({"apiVersion": version, "kind": kind, "spec": spec})
        found: dict[str, Any] = {
            "logIndex": str(1000 + place), "logId": {"keyId": b64(self.log_id)},
            "kindVersion": {"kind": kind, "version": version}, "canonicalizedBody": b64(body),
        }  # fmt: skip
        if at is not None:
            found["integratedTime"] = str(int(at.timestamp()))
        if promise and at is not None:
            found["inclusionPromise"] = {"signedEntryTimestamp": b64(self.promise(body, at, 1000 + place))}
        if proof:
            found["inclusionProof"] = self.proof(body, place, size)
        return found

    def promise(self, body: bytes, at: datetime, index: int) -> bytes:
        document = {
            "body": b64(body), "integratedTime": int(at.timestamp()), "logID": self.log_id.hex(),
            "logIndex": index,
        }  # fmt: skip
        return sign(self.log_key, canonical(document))

    def proof(self, body: bytes, place: int, size: int) -> dict[str, Any]:
        leaves = [hashlib.sha256(b"\0other %d" % number).digest() for number in range(size)]
        leaves[place] = hashlib.sha256(b"\0" + body).digest()
        top, path = _tree(leaves), _path(place, leaves)
        note = f"log.test - 1\n{size}\n{b64(top)}\n"
        signature = b64(self.log_id[:4] + sign(self.log_key, note.encode()))
        return {
            "logIndex": str(place), "treeSize": str(size), "rootHash": b64(top),
            "hashes": [b64(one) for one in path],
            "checkpoint": {"envelope": f"{note}\n— log.test {signature}\n"},
        }  # fmt: skip

    def stamp(self, signature: bytes, at: datetime = SIGNED, *, in_parts: bool = False) -> bytes:
        """A timestamp authority's answer about a signature (RFC 3161), or in BER that few read."""
        digest = der.seq(der.oid("2.16.840.1.101.3.4.2.1"))
        info = der.seq(
            der.integer(1), der.oid("1.3.6.1.4.1.57264.2"),
            der.seq(digest, der.octets(hashlib.sha256(signature).digest())),
            der.integer(4711), der.generalized_time(at),
        )  # fmt: skip
        written = der.tlv(0x24, der.octets(info)) if in_parts else der.octets(info)
        certificate = self.stamper.der
        hashed = der.seq(der.seq(der.seq(digest, der.octets(hashlib.sha256(certificate).digest()))))
        attributes = b"".join(sorted((
            der.seq(der.oid("1.2.840.113549.1.9.3"), der.set_(der.oid("1.2.840.113549.1.9.16.1.4"))),
            der.seq(der.oid("1.2.840.113549.1.9.4"), der.set_(der.octets(hashlib.sha256(info).digest()))),
            der.seq(der.oid("1.2.840.113549.1.9.16.2.47"), der.set_(hashed)),
        )))  # fmt: skip
        assert self.stamp_root.certificate is not None
        issued_by = self.stamp_root.certificate.subject.public_bytes()
        signer = der.seq(
            der.integer(1), der.seq(issued_by, der.integer(77)), digest, der.tlv(0xA0, attributes),
            der.seq(der.oid("1.2.840.10045.4.3.2")), der.octets(sign(self.stamper.key, der.set_(attributes))),
        )  # fmt: skip
        content = der.seq(der.oid("1.2.840.113549.1.9.16.1.4"), der.tlv(0xA0, written))
        signed = der.seq(
            der.integer(3), der.set_(digest), content, der.tlv(0xA0, certificate), der.set_(signer)
        )
        token = der.seq(der.oid("1.2.840.113549.1.7.2"), der.tlv(0xA0, signed))
        return der.seq(der.seq(der.integer(0)), token)

    # whole bundles

    def material(
        self, signer: Signer, entries: list[Any], stamps: list[bytes], version: str
    ) -> dict[str, Any]:
        if signer.certificate is None:
            who: dict[str, Any] = {"publicKey": {"hint": b64(hashlib.sha256(spki(signer.key)).digest())}}
        elif version == V3:
            who = {"certificate": {"rawBytes": b64(signer.der)}}
        else:
            who = {"x509CertificateChain": {"certificates": [{"rawBytes": b64(signer.der)}]}}
        found = who | {"tlogEntries": entries}
        if stamps:
            listed = [{"signedTimestamp": b64(one)} for one in stamps]
            found["timestampVerificationData"] = {"rfc3161Timestamps": listed}
        return found

    def message(
        self, content: bytes, signer: Signer, *, version: str = V3, kind: str = "hashedrekord/0.0.1",
        stamps: tuple[datetime, ...] = (), logged: bool = True, **entry: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """A bundle with a signature of content."""
        signature, digest = sign(signer.key, content), hashlib.sha256(content)
        entries = []
        if logged:
            spec = self.hashedrekord(kind, signature, digest.digest(), signer)
            entries = [self.entry(*kind.split("/"), spec, **entry)]
        return {
            "mediaType": version,
            "verificationMaterial": self.material(
                signer, entries, [self.stamp(signature, at) for at in stamps], version
            ),
            "messageSignature": {
                "messageDigest": {"algorithm": "SHA2_256", "digest": b64(digest.digest())},
                "signature": b64(signature),
            },
        }

    def hashedrekord(self, kind: str, signature: bytes, digest: bytes, signer: Signer) -> dict[str, Any]:
        if kind.endswith("0.0.1"):
            return {
                "data": {"hash": {"algorithm": "sha256", "value": digest.hex()}},
                "signature": {"content": b64(signature), "publicKey": {"content": b64(signer.pem)}},
            }
        who = (
            {"x509Certificate": {"rawBytes": b64(signer.der)}}
            if signer.certificate
            else {"publicKey": {"rawBytes": b64(spki(signer.key))}}
        )
        verifier = who | {"keyDetails": "PKIX_ECDSA_P256_SHA_256"}
        return {
            "hashedRekordV002": {
                "data": {"algorithm": "SHA2_256", "digest": b64(digest)},
                "signature": {"content": b64(signature), "verifier": verifier},
            }
        }

    def attestation(
        self, payload: bytes, signer: Signer, *, version: str = V3, kind: str = "dsse/0.0.1",
        stamps: tuple[datetime, ...] = (), logged: bool = True, **entry: Any,
    ) -> dict[str, Any]:  # fmt: skip
        """A bundle with an envelope."""
        signature = sign(signer.key, pae(payload))
        entries = []
        if logged:
            entries = [self.entry(*kind.split("/"), self.recorded(kind, payload, signature, signer), **entry)]
        return {
            "mediaType": version,
            "verificationMaterial": self.material(
                signer, entries, [self.stamp(signature, at) for at in stamps], version
            ),
            "dsseEnvelope": {
                "payload": b64(payload), "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"sig": b64(signature), "keyid": ""}],
            },
        }  # fmt: skip

    def recorded(self, kind: str, payload: bytes, signature: bytes, signer: Signer) -> dict[str, Any]:
        hashed = {"algorithm": "sha256", "value": hashlib.sha256(payload).hexdigest()}
        if kind == "dsse/0.0.1":
            return {
                "envelopeHash": {"algorithm": "sha256", "value": "0" * 64}, "payloadHash": hashed,
                "signatures": [{"signature": b64(signature), "verifier": b64(signer.pem)}],
            }  # fmt: skip
        if kind == "dsse/0.0.2":
            digest = {"algorithm": "SHA2_256", "digest": b64(hashlib.sha256(payload).digest())}
            record = self.hashedrekord(kind, signature, b"", signer)["hashedRekordV002"]
            return {"dsseV002": {"payloadHash": digest, "signatures": [record["signature"]]}}
        if kind == "intoto/0.0.2":
            envelope = {
                "payload": b64(b64(payload).encode()), "payloadType": "application/vnd.in-toto+json",
                "signatures": [{"publicKey": b64(signer.pem), "sig": b64(b64(signature).encode())}],
            }  # fmt: skip
            return {"content": {"envelope": envelope, "hash": hashed, "payloadHash": hashed}}
        if kind == "intoto/0.0.1":
            return {"content": {"hash": hashed, "payloadHash": hashed}, "publicKey": b64(signer.pem)}
        return self.hashedrekord(kind, signature, hashlib.sha256(pae(payload)).digest(), signer)


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _split(count: int) -> int:
    return 1 << ((count - 1).bit_length() - 1)


def _tree(leaves: list[bytes]) -> bytes:
    """RFC 6962 2.1."""
    if len(leaves) == 1:
        return leaves[0]
    at = _split(len(leaves))
    return _node(_tree(leaves[:at]), _tree(leaves[at:]))


def _path(place: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 2.1.1."""
    if len(leaves) == 1:
        return []
    at = _split(len(leaves))
    if place < at:
        return [*_path(place, leaves[:at]), _tree(leaves[at:])]
    return [*_path(place - at, leaves[at:]), _tree(leaves[:at])]
