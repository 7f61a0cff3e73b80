# ruff: noqa: E501 - tables, one line a case
"""Notation's envelopes and trust policies: what holds, and what is refused or only noted."""

import base64
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import cbor2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from joserfc import jws
from joserfc.jwk import import_key

from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.signing.errors import InvalidTrust, SignatureRefused
from entrepot.signing.notation import COSE, JWS, PAYLOAD, _sign, algorithm_of, make_notation, parse_notation
from entrepot.signing.notation_trust import NotationPolicy, check_notation, parse_policies, policy_for
from entrepot.signing.verdict import Verified
from tests.support.sigstore import SIGNED, Signer, Sigstore

IMAGE = Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"image"), 5)
OTHER = Descriptor(mediatype.OCI_MANIFEST, Digest.of(b"other"), 5)
NOW = SIGNED + timedelta(minutes=1)
LATE = SIGNED + timedelta(days=900)
STAMPS = Sigstore()
Chain = tuple[x509.Certificate, ...]


def certify(
    key: Any, name: str, by: Signer | None = None, *, ca: bool = False, days: int = 365, code: bool = True
) -> Signer:
    subject = x509.Name([
        x509.NameAttribute(NameOID.COUNTRY_NAME, "DE"), x509.NameAttribute(NameOID.STATE_OR_PROVINCE_NAME, "HH"),
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "port"), x509.NameAttribute(NameOID.COMMON_NAME, name),
    ])  # fmt: skip
    issuer = by.certificate.subject if by and by.certificate else subject
    usage = x509.KeyUsage(not ca, False, False, False, False, ca, ca, False, False)
    builder = (
        x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(SIGNED - timedelta(days=1))
        .not_valid_after(SIGNED + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca, None), critical=True).add_extension(usage, critical=True)
    )  # fmt: skip
    if code and not ca:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
        )
    signer = by.key if by else key
    return Signer(
        key, builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )


def chain_of(*signers: Signer) -> Chain:
    return tuple(one.certificate for one in signers if one.certificate is not None)


ROOT = certify(ec.generate_private_key(ec.SECP256R1()), "root", ca=True, days=3650)
ME = certify(ec.generate_private_key(ec.SECP256R1()), "me", ROOT)
MINE = chain_of(ME, ROOT)
KEYS: dict[str, Any] = {
    "ES256": ME.key, "ES384": ec.generate_private_key(ec.SECP384R1()), "ES512": ec.generate_private_key(ec.SECP521R1()),
    "PS256": rsa.generate_private_key(65537, 2048), "PS384": rsa.generate_private_key(65537, 3072),
}  # fmt: skip


def policy(level: str = "strict", **changes: Any) -> NotationPolicy:
    one = {
        "name": "p", "registryScopes": ["*"], "signatureVerification": {"level": level},
        "trustStores": ["ca:port", "tsa:stamps"], "trustedIdentities": ["x509.subject: C=DE, ST=HH, O=port, CN=me"],
    } | changes  # fmt: skip
    return parse_policies(json.dumps({"version": "1.0", "trustPolicies": [one]}).encode(), "policy")[0]


STORES = {"ca:port": chain_of(ROOT), "tsa:stamps": chain_of(STAMPS.stamp_root)}


def check(
    raw: bytes, kind: str = JWS, *, image: Descriptor = IMAGE, by: NotationPolicy | None = None, stores: Any = STORES,
    now: datetime = NOW,
) -> Verified:  # fmt: skip
    return check_notation(parse_notation(raw, kind), image, by or policy(), stores, now=now)


def make(key: Any = ME.key, chain: Chain = MINE, **options: Any) -> bytes:
    return make_notation(IMAGE, key, chain, now=options.pop("now", SIGNED), **options)


def cose(
    key: Any = ME.key, chain: Chain = MINE, *, protected: dict[Any, Any] | None = None, **unprotected: Any
) -> bytes:
    scheme = "io.cncf.notary.signingScheme"
    head: dict[Any, Any] = {
        1: {"ES256": -7, "PS256": -37}[algorithm_of(key.public_key())], 2: [scheme], 3: PAYLOAD, scheme: "notary.x509",
        "io.cncf.notary.signingTime": cbor2.CBORTag(1, int(SIGNED.timestamp())),
    } | (protected or {})  # fmt: skip
    body = cbor2.dumps(head)
    payload = json.dumps(
        {"targetArtifact": {"mediaType": IMAGE.media_type, "digest": str(IMAGE.digest), "size": 5}}
    ).encode()
    signed = cbor2.dumps(["Signature1", body, b"", payload])
    ders = [one.public_bytes(serialization.Encoding.DER) for one in chain]
    beside = {33: ders} | {f"io.cncf.notary.{name}": value for name, value in unprotected.items()}
    return cbor2.dumps(
        cbor2.CBORTag(18, [body, beside, payload, _sign(key, signed, algorithm_of(key.public_key()))])
    )


@pytest.mark.parametrize("algorithm", KEYS)
def test_what_we_sign_holds_and_another_implementation_of_jws_agrees(algorithm: str) -> None:
    key = KEYS[algorithm]
    signer = certify(key, "me", ROOT)
    raw = make(key, chain_of(signer, ROOT), annotations={"build": "7"}, expires_in=timedelta(days=2))
    assert check(raw).signer == "CN=me,O=port,ST=HH,C=DE"
    with pytest.raises(SignatureRefused, match="expired on"):
        check(raw, now=NOW + timedelta(days=3))
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    envelope = json.loads(raw)
    registry = jws.JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    registry.check_header = lambda _: None  # type: ignore[method-assign]  # it knows none of notation's critical headers
    read = jws.deserialize_compact(
        ".".join((envelope["protected"], envelope["payload"], envelope["signature"])),
        import_key(public, "EC" if algorithm[0] == "E" else "RSA"), registry=registry,
    )  # fmt: skip
    assert json.loads(read.payload)["targetArtifact"]["annotations"] == {"build": "7"}


@pytest.mark.parametrize("algorithm", ["ES256", "PS256"])
def test_cose_holds(algorithm: str) -> None:
    signer = certify(KEYS[algorithm], "me", ROOT)
    assert check(cose(KEYS[algorithm], chain_of(signer, ROOT)), COSE).signer.startswith("CN=me")
    with pytest.raises(SignatureRefused, match="another digest"):
        check(cose(KEYS[algorithm], chain_of(signer, ROOT)), COSE, image=OTHER)


def _token(signature: bytes, at: datetime = SIGNED) -> bytes:
    """The token in an authority's answer: behind the status."""
    answer = STAMPS.stamp(signature, at)
    skipped = 2 if answer[1] < 0x80 else 2 + (answer[1] & 0x7F)
    return answer[skipped + 5 :]


def stamped(at: datetime = SIGNED, *, of: bytes | None = None) -> bytes:
    envelope = json.loads(make())
    signature = base64.urlsafe_b64decode(envelope["signature"] + "==")
    token = _token(of or signature, at)
    envelope["header"]["io.cncf.notary.timestampSignature"] = base64.b64encode(token).decode()
    return json.dumps(envelope).encode()


def test_a_timestamp_lets_a_signature_outlive_its_certificate() -> None:
    with pytest.raises(SignatureRefused, match="is not valid now, and no timestamp"):
        check(make(), now=LATE)
    assert check(stamped(), now=LATE).signed_at == SIGNED
    with pytest.raises(SignatureRefused, match="not valid when it was signed"):
        check(stamped(LATE), now=LATE + timedelta(days=1))
    with pytest.raises(SignatureRefused, match="or of other bytes"):
        check(stamped(of=b"other"), now=LATE)
    with pytest.raises(SignatureRefused, match="from the future"):
        check(stamped(LATE), now=NOW)
    with pytest.raises(SignatureRefused, match="of no authority"):
        check(stamped(), now=LATE, stores=STORES | {"tsa:stamps": chain_of(ROOT)})


def _changed(raw: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    envelope = json.loads(raw)
    change(envelope)
    return json.dumps(envelope).encode()


def _protected(**fields: Any) -> bytes:
    """An envelope with other protected headers, signed again."""
    envelope = json.loads(make())
    head = json.loads(base64.urlsafe_b64decode(envelope["protected"] + "==")) | fields
    head = {name: value for name, value in head.items() if value is not None}
    protected = base64.urlsafe_b64encode(json.dumps(head).encode()).decode().rstrip("=")
    signature = _sign(ME.key, f"{protected}.{envelope['payload']}".encode(), "ES256")
    text = base64.urlsafe_b64encode(signature).decode()
    return json.dumps(envelope | {"protected": protected, "signature": text}).encode()


SCHEME = "io.cncf.notary.signingScheme"
STRANGER = certify(ec.generate_private_key(ec.SECP256R1()), "root", ca=True)
REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "altered payload": (lambda: _changed(make(), lambda e: e.update(payload=e["payload"][:-4] + "AAAA")), "."),
    "altered signature": (lambda: _changed(make(), lambda e: e.update(signature="AA" * 43)), "wrong signature"),
    "certificate of another key": (lambda: _changed(make(), lambda e: e["header"].update(x5c=json.loads(make(KEYS["PS256"], chain_of(certify(KEYS["PS256"], "me", ROOT), ROOT)))["header"]["x5c"])), "is not that of the RSA 2048 key"),
    "no certificates": (lambda: _changed(make(), lambda e: e["header"].update(x5c=[])), "0 certificates"),
    "chains mixed up": (lambda: make(chain=chain_of(ME, STRANGER)), "does not hold together"),
    "root nobody trusts": (lambda: make(chain=chain_of(certify(ME.key, "me", STRANGER), STRANGER)), "no trust store of the policy 'p'"),
    "somebody else": (lambda: make(chain=chain_of(certify(ME.key, "you", ROOT), ROOT)), "CN=you,O=port,ST=HH,C=DE, whom the policy 'p' does not name"),
    "not for signing code": (lambda: make(chain=chain_of(_not_for_code(), ROOT)), "not for signing code"),
    "no algorithm": (lambda: _protected(alg="none"), "'none' is not that of"),
    "a weaker algorithm": (lambda: _protected(alg="HS256"), "'HS256' is not that of"),
    "critical header nobody knows": (lambda: _protected(crit=[SCHEME, "x"], x=1), "asks for x"),
    "critical header that is no name": (lambda: _protected(crit=[SCHEME, {}]), "asks for {}"),
    "scheme not critical": (lambda: _protected(crit=["io.cncf.notary.expiry"]), "not named as such"),
    "expiry not critical": (lambda: _protected(**{"io.cncf.notary.expiry": "2099-01-01T00:00:00Z"}), "not named as such"),
    "unknown scheme": (lambda: _protected(**{SCHEME: "x"}), "is not known"),
    "payload of another type": (lambda: _protected(cty="text/plain"), "another type"),
    "signed in the future": (lambda: make(now=NOW + timedelta(days=1)), "from the future"),
    "no time": (lambda: _protected(**{"io.cncf.notary.signingTime": None}), "signingTime is missing"),
}  # fmt: skip


def _not_for_code() -> Signer:
    signer = certify(ME.key, "me", ROOT, code=False)
    assert signer.certificate is not None
    builder = (
        x509.CertificateBuilder()
        .subject_name(signer.certificate.subject)
        .issuer_name(signer.certificate.issuer)
    )
    builder = (
        builder.public_key(ME.key.public_key())
        .serial_number(7)
        .not_valid_before(SIGNED)
        .not_valid_after(LATE)
    )
    for one in signer.certificate.extensions:
        builder = builder.add_extension(one.value, one.critical)
    builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return Signer(ME.key, builder.sign(ROOT.key, hashes.SHA256()))


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_hold_is_refused_with_the_reason(name: str) -> None:
    raw, reason = REFUSED[name]
    with pytest.raises(SignatureRefused, match=reason):
        check(raw())


def test_what_a_level_does_not_enforce_is_noted() -> None:
    expired = make(expires_in=timedelta(days=1))
    late = NOW + timedelta(days=2)
    assert any("expired on" in note for note in check(expired, by=policy("permissive"), now=late).notes)
    assert any(
        "expired on" in note
        for note in check(
            expired,
            by=policy(signatureVerification={"level": "strict", "override": {"expiry": "log"}}),
            now=late,
        ).notes
    )
    stranger = make(chain=chain_of(certify(ME.key, "me", STRANGER), STRANGER))
    assert any("no trust store" in note for note in check(stranger, by=policy("audit")).notes)
    with pytest.raises(SignatureRefused, match="no trust store"):
        check(stranger, by=policy("permissive"))
    with pytest.raises(SignatureRefused, match="another digest"):
        check(make(), by=policy("audit"), image=OTHER)
    assert any("revoked" in note for note in check(make()).notes)


def test_identities_are_parts_of_the_subject() -> None:
    check(make(), by=policy(trustedIdentities=["x509.subject: C=DE, ST=HH, O=port"]))
    check(make(), by=policy(trustedIdentities=["*"]))
    with pytest.raises(SignatureRefused, match="does not name"):
        check(make(), by=policy(trustedIdentities=["x509.subject: C=DE, ST=HH, O=port, OU=none"]))


def test_a_signing_authority_is_trusted_by_stores_of_its_own() -> None:
    when = "io.cncf.notary.authenticSigningTime"
    scheme = "notary.x509.signingAuthority"
    raw = _protected(
        **{
            SCHEME: scheme,
            when: "2026-03-01T12:00:05Z",
            "io.cncf.notary.signingTime": None,
            "crit": [SCHEME, when],
        }
    )
    with pytest.raises(SignatureRefused, match="no trust store"):
        check(raw)
    by = policy(trustStores=["signingAuthority:port"])
    assert check(raw, by=by, stores={"signingAuthority:port": chain_of(ROOT)}, now=LATE).signed_at == SIGNED


POLICY: dict[str, Any] = {
    "name": "p", "registryScopes": ["*"], "signatureVerification": {"level": "strict"}, "trustStores": ["ca:a"],
    "trustedIdentities": ["*"],
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"registryScopes": []}, {"registryScopes": ["*", "a/b"]}, {"registryScopes": "x"}, {"trustStores": ["x:y"]},
     {"trustStores": []}, {"trustedIdentities": []}, {"trustedIdentities": ["*", "x509.subject: C=a,ST=b,O=c"]},
     {"trustedIdentities": ["CN=x"]}, {"trustedIdentities": ["x509.subject: CN=x"]}, {"signatureVerification": {"level": "x"}},
     {"signatureVerification": {"level": "skip"}}, {"signatureVerification": {"level": "strict", "override": {"integrity": "log"}}},
     {"name": None}],
)  # fmt: skip
def test_a_policy_that_cannot_be_meant_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidTrust):
        parse_policies(json.dumps({"version": "1.0", "trustPolicies": [POLICY | change]}).encode(), "policy")


def test_a_repository_has_the_policy_that_names_it() -> None:
    own = POLICY | {"name": "own", "registryScopes": ["h/a"], "signatureVerification": {"level": "skip"}}
    found = parse_policies(json.dumps({"version": "1.0", "trustPolicies": [POLICY, own]}).encode(), "policy")
    assert policy_for(found, "h/a").actions is None
    assert policy_for(found, "h/b").name == "p"
    with pytest.raises(InvalidTrust, match="no trust policy is for h/b"):
        policy_for(found[1:], "h/b")
    with pytest.raises(InvalidTrust, match="is in two policies"):
        parse_policies(json.dumps({"version": "1.0", "trustPolicies": [POLICY, POLICY]}).encode(), "policy")


def test_keys_notation_has_no_algorithm_for_and_chains_of_other_keys_are_refused() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    with pytest.raises(InvalidTrust, match="signs with no Ed25519 keys"):
        make(key, chain_of(certify(key, "me", ROOT), ROOT))
    with pytest.raises(InvalidTrust, match="not that of the key"):
        make(chain=chain_of(ROOT))


@pytest.mark.parametrize(
    "raw",
    [b"", b"\xd2", b"\xd2\x80", b"\xd2\x84\x40\xa0\x40\x40", b"\x81" * 100_000, b"\x9b" + b"\xff" * 8, b"\xc2" * 5000, b"\xd2" * 5000,
     b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff", cose() + b"\x00", cose(protected={2: ["x"]}), cose(protected={3: "x"}), cose(chain=())],
)  # fmt: skip
def test_bytes_that_are_no_envelope_are_refused(raw: bytes) -> None:
    with pytest.raises(SignatureRefused):
        check(raw, COSE)
    with pytest.raises(SignatureRefused):
        check(raw, JWS)


def test_cut_anywhere_an_envelope_is_refused() -> None:
    for raw, kind in ((make(), JWS), (cose(), COSE)):
        for at in range(0, len(raw), 7):
            with pytest.raises(SignatureRefused):
                check(raw[:at], kind)
