# ruff: noqa: E501 - tables, one line a case
"""What a sigstore bundle has to prove, and each way of not proving it, with the reason that is told."""

import base64
import copy
import hashlib
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from entrepot.signing.certificate_files import read_certificate
from entrepot.signing.errors import InvalidTrust, SignatureRefused, UnreadableSignature
from entrepot.signing.keys import load_public_key
from entrepot.signing.signed import SignedBytes, SignedDigests
from entrepot.signing.trustroot import parse_trust_root
from entrepot.signing.tstinfo import claimed_time
from entrepot.signing.verdict import ByIdentity, ByKey, Verified
from entrepot.signing.verify import verify_bundle
from tests.support.sigstore import (
    IDENTITY,
    ISSUER,
    SIGNED,
    START,
    V1,
    V2,
    V3,
    Signer,
    Sigstore,
    b64,
    new_key,
    pem,
    sign,
    statement,
)

CONTENT = b"what was signed\n"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
STORE = Sigstore()
WHO = STORE.certify()
OWN = Signer(new_key())
BY_IDENTITY = ByIdentity(IDENTITY, ISSUER)
TOLD = statement(DIGEST)
LATER = SIGNED + timedelta(hours=1)
Change = Callable[[dict[str, Any]], object]


def by_key(signer: Signer = OWN) -> ByKey:
    return ByKey(load_public_key(pem(signer.key), "key.pub"), "key.pub")


def verify(
    bundle: dict[str, Any],
    trusted: Any = BY_IDENTITY,
    *,
    root: dict[str, Any] | None = None,
    content: bytes = CONTENT,
) -> Verified:
    raw = json.dumps(bundle).encode()
    trust = parse_trust_root(json.dumps(root or STORE.trusted_root()).encode())
    found = verify_bundle(raw, SignedBytes(content), trusted, trust)
    digests = SignedDigests({"sha256": hashlib.sha256(content).digest()})
    assert verify_bundle(raw, digests, trusted, trust) == found
    return found


def entry(bundle: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = bundle["verificationMaterial"]["tlogEntries"][0]
    return found


HOLDING = {
    "0.1 with chain": STORE.message(CONTENT, WHO, version=V1),
    "0.2 with chain": STORE.message(CONTENT, WHO, version=V2),
    "0.3": STORE.message(CONTENT, WHO),
    "0.3 as it was called first": STORE.message(CONTENT, WHO)
    | {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.3"},
    "timestamp beside the promise": STORE.message(CONTENT, WHO, stamps=(SIGNED,)),
    "timestamp alone, second version of the log": STORE.message(
        CONTENT, WHO, kind="hashedrekord/0.0.2", at=None, stamps=(SIGNED,)
    ),
    "envelope in dsse": STORE.attestation(TOLD, WHO),
    "envelope in hashedrekord": STORE.attestation(
        TOLD, WHO, kind="hashedrekord/0.0.2", at=None, stamps=(SIGNED,)
    ),
    "envelope in the second dsse": STORE.attestation(TOLD, WHO, kind="dsse/0.0.2", at=None, stamps=(SIGNED,)),
    "envelope in intoto": STORE.attestation(TOLD, WHO, kind="intoto/0.0.2"),
    "only leaf of its tree": STORE.attestation(TOLD, WHO, kind="intoto/0.0.2", place=0, size=1),
    "last leaf of its tree": STORE.attestation(TOLD, WHO, kind="intoto/0.0.2", place=6, size=7),
}


@pytest.mark.parametrize("name", HOLDING)
def test_a_signature_by_an_identity_holds(name: str) -> None:
    found = verify(HOLDING[name])
    assert found.signer == f"{IDENTITY} ({ISSUER})"
    assert found.signed_at in (SIGNED, None)
    assert (found.statement is not None) == ("dsseEnvelope" in HOLDING[name])


BY_KEY = {
    "nothing beside it": STORE.message(CONTENT, OWN, logged=False),
    "log entry": STORE.message(CONTENT, OWN),
    "log entry and timestamp": STORE.message(
        CONTENT, OWN, kind="hashedrekord/0.0.2", at=None, stamps=(SIGNED,)
    ),
    "log entry without a time": STORE.attestation(TOLD, OWN, kind="intoto/0.0.2", at=None),
    "envelope": STORE.attestation(TOLD, OWN, logged=False),
    "envelope in hashedrekord": STORE.attestation(TOLD, OWN, kind="hashedrekord/0.0.2", at=None),
    "log's promise alone, in 0.1": STORE.message(CONTENT, OWN, version=V1, proof=False),
}


@pytest.mark.parametrize("name", BY_KEY)
def test_a_signature_by_a_key_holds(name: str) -> None:
    assert verify(BY_KEY[name], by_key()).signer == "ECDSA P-256 key key.pub"


def test_a_key_needs_no_trust_root_and_what_was_left_unchecked_is_said() -> None:
    raw = json.dumps(BY_KEY["log entry"]).encode()
    found = verify_bundle(raw, SignedBytes(CONTENT), by_key(), None)
    assert found.notes == ("log entries and timestamps were not checked: no trust root",)
    with pytest.raises(InvalidTrust, match="needs a trust root"):
        verify_bundle(raw, SignedBytes(CONTENT), BY_IDENTITY, None)


@pytest.mark.parametrize("kind", ["P-384", "P-521", "RSA", "Ed25519"])
def test_keys_of_all_kinds(kind: str) -> None:
    content = SignedBytes(CONTENT)
    if kind == "RSA":
        key: Any = rsa.generate_private_key(65537, 2048)
        signature = key.sign(CONTENT, padding.PKCS1v15(), hashes.SHA256())
    elif kind == "Ed25519":
        key = ed25519.Ed25519PrivateKey.generate()
        signature = key.sign(CONTENT)
    else:
        key = new_key(ec.SECP384R1() if kind == "P-384" else ec.SECP521R1())
        signature = sign(key, CONTENT)
    bundle = STORE.message(CONTENT, OWN, logged=False)
    bundle["messageSignature"]["signature"] = b64(signature)
    bundle["verificationMaterial"] = {"publicKey": {"hint": ""}}
    found = verify_bundle(json.dumps(bundle).encode(), content, by_key(Signer(key)), None)
    assert found.signer.startswith(kind if kind[0] != "P" else f"ECDSA {kind}")
    with pytest.raises(SignatureRefused, match=r"another digest|wrong signature"):
        verify_bundle(json.dumps(bundle).encode(), SignedBytes(b"other"), by_key(Signer(key)), None)


def test_an_ed25519_signature_needs_the_content_itself() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    bundle = STORE.message(CONTENT, OWN, logged=False)
    bundle["messageSignature"]["signature"] = b64(key.sign(CONTENT))
    digests = SignedDigests({"sha256": hashlib.sha256(CONTENT).digest()})
    with pytest.raises(SignatureRefused, match="only its digest is known"):
        verify_bundle(json.dumps(bundle).encode(), digests, by_key(Signer(key)), None)


def test_the_end_of_a_validity_is_part_of_it() -> None:
    root = STORE.trusted_root()
    for named in (root["tlogs"][0]["publicKey"], root["timestampAuthorities"][0]):
        named["validFor"] = {"start": START.isoformat(), "end": SIGNED.isoformat()}
    verify(HOLDING["timestamp alone, second version of the log"], root=root)
    verify(HOLDING["0.3"], root=root)


def test_the_issuer_is_found_by_its_key_where_two_have_one_name() -> None:
    other = Sigstore()
    root = STORE.trusted_root()
    root["certificateAuthorities"].insert(0, other.trusted_root()["certificateAuthorities"][0])
    verify(HOLDING["0.3"], root=root)
    verify(HOLDING["envelope in intoto"], root=root)


def _set(path: str, value: Any) -> Change:
    def change(bundle: dict[str, Any]) -> None:
        *keys, last = path.split(".")
        at: Any = bundle
        for key in keys:
            at = at[int(key)] if key.isdigit() else at[key]
        if value is None:
            del at[last]
        else:
            at[last] = value(at[last]) if callable(value) else value

    return change


ENTRY = "verificationMaterial.tlogEntries.0"
REFUSED: dict[str, tuple[str, Change, str]] = {
    "wrong signature": ("0.3", lambda b: b["messageSignature"].update(signature=b64(sign(WHO.key, b"other"))), "wrong signature"),
    "no signature at all": ("0.3", _set("messageSignature.signature", "AAAA"), "not one of an ECDSA key"),
    "digest of something else": ("0.3", _set("messageSignature.messageDigest.digest", b64(bytes(32))), "another digest"),
    "wrong hash in the proof": ("envelope in intoto", lambda b: entry(b)["inclusionProof"]["hashes"].__setitem__(0, b64(bytes(32))), "wrong proof"),
    "too many hashes in the proof": ("envelope in intoto", lambda b: entry(b)["inclusionProof"]["hashes"].extend([b64(bytes(32))] * 9), "wrong proof"),
    "place outside of the tree": ("0.3", _set(f"{ENTRY}.inclusionProof.logIndex", "5"), "outside of the tree"),
    "no proof": ("0.3", _set(f"{ENTRY}.inclusionProof", None), "no proof that the log includes it"),
    "no checkpoint": ("envelope in intoto", _set(f"{ENTRY}.inclusionProof.checkpoint", None), "no proof that the log"),
    "checkpoint of another tree": ("0.3", _set(f"{ENTRY}.inclusionProof.treeSize", "6"), "another tree"),
    "checkpoint nobody signed": ("envelope in intoto", _set(f"{ENTRY}.inclusionProof.checkpoint.envelope", lambda text: text.replace("log.test - 1", "log.test - 2")), "checkpoint: wrong signature"),
    "promise for another time": ("0.3", _set(f"{ENTRY}.integratedTime", str(int(SIGNED.timestamp()) + 1)), "signed time: wrong signature"),
    "neither promise nor timestamp": ("0.3", _set(f"{ENTRY}.inclusionPromise", None), "neither a log nor a timestamp authority"),
    "log nobody knows": ("0.3", _set(f"{ENTRY}.logId.keyId", b64(bytes(32))), "knows no log 0000"),
    "two log entries": ("0.3", lambda b: b["verificationMaterial"]["tlogEntries"].append(entry(b)), "exactly one"),
    "the same timestamp twice": ("timestamp beside the promise", lambda b: b["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"].append(b["verificationMaterial"]["timestampVerificationData"]["rfc3161Timestamps"][0]), "twice"),
    "a kind of entry nobody knows": ("envelope in intoto", _set(f"{ENTRY}.kindVersion.version", "9.9"), "another one than the bundle says"),
    "unknown version of bundle": ("0.3", _set("mediaType", "application/vnd.dev.sigstore.bundle.v0.9+json"), "is not known"),
    "two signatures in an envelope": ("envelope in dsse", lambda b: b["dsseEnvelope"]["signatures"].append({"sig": "AAAA"}), "exactly one"),
    "payload of another type": ("envelope in dsse", _set("dsseEnvelope.payloadType", "text/plain"), "wrong signature"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_was_changed_is_refused_with_the_reason(name: str) -> None:
    start, change, reason = REFUSED[name]
    bundle = copy.deepcopy(HOLDING[start])
    change(bundle)
    with pytest.raises(SignatureRefused, match=reason):
        verify(bundle)


OTHER = Sigstore()
MADE: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "log entry about another signature": (lambda: _swapped(STORE.message(b"other", WHO)), "about another"),
    "log entry about another envelope": (lambda: _swapped(STORE.attestation(statement("0" * 64), WHO), "envelope in dsse"), "about another"),
    "second dsse entry about another envelope": (lambda: _swapped(STORE.attestation(statement("0" * 64), WHO, kind="dsse/0.0.2", at=None), "envelope in the second dsse"), "about another"),
    "intoto entry about another envelope": (lambda: _swapped(STORE.attestation(statement("0" * 64), WHO, kind="intoto/0.0.2"), "envelope in intoto"), "about another"),
    "certificate expired when it signed": (lambda: STORE.message(CONTENT, WHO, at=LATER), "had expired"),
    "certificate of later": (lambda: STORE.attestation(TOLD, WHO, kind="intoto/0.0.2", at=SIGNED - timedelta(hours=1)), "not valid yet"),
    "one of two timestamps too late": (lambda: STORE.message(CONTENT, WHO, stamps=(SIGNED, LATER)), "had expired"),
    "timestamp of nobody known, too late": (lambda: _stamped_elsewhere(LATER), "had expired"),
    "timestamp nobody can verify, too late": (lambda: _stamped_in_parts(LATER), "had expired"),
    "timestamp from the future": (lambda: STORE.message(CONTENT, WHO, stamps=(datetime(2199, 1, 1, tzinfo=UTC),)), "from the future"),
    "log time from the future": (lambda: STORE.attestation(TOLD, STORE.certify(at=datetime(2199, 1, 1, tzinfo=UTC)), kind="intoto/0.0.2", at=datetime(2199, 1, 1, tzinfo=UTC)), "from the future"),
    "certificate by somebody else": (lambda: STORE.message(CONTENT, OTHER.certify()), "issued by nobody the trust root names"),
    "issuer of one, log of another": (lambda: STORE.message(CONTENT, STORE.certify(log_key=OTHER.certificate_log_key)), "no log of certificates"),
    "proof of logging for another certificate": (lambda: STORE.attestation(TOLD, _mixed(), kind="intoto/0.0.2"), "proof that the certificate was logged: wrong signature"),
    "somebody else": (lambda: STORE.message(CONTENT, STORE.certify(identity="https://evil.example")), "signed by https://evil.example, not by"),
    "another issuer": (lambda: STORE.message(CONTENT, STORE.certify(issuer="https://evil.example")), "checked by https://evil.example"),
    "statement about something else": (lambda: STORE.attestation(statement("0" * 64), WHO), "about another digest"),
    "statement without a type": (lambda: STORE.attestation(statement(DIGEST, _type=None), WHO), "_type is missing"),
    "statement of an unknown type": (lambda: STORE.attestation(statement(DIGEST, _type="https://in-toto.io/Statement/v2"), WHO), "is not known"),
    "signed with a key": (lambda: STORE.message(CONTENT, OWN), "with a key, not by an identity"),
}  # fmt: skip


def _swapped(other: dict[str, Any], start: str = "0.3") -> dict[str, Any]:
    """CVE-2022-36056: a true log entry, about something else."""
    bundle = copy.deepcopy(HOLDING[start])
    bundle["verificationMaterial"]["tlogEntries"] = other["verificationMaterial"]["tlogEntries"]
    return bundle


def _stamped_elsewhere(at: datetime) -> dict[str, Any]:
    bundle = STORE.attestation(TOLD, WHO, kind="intoto/0.0.2")
    stamp = {"signedTimestamp": b64(OTHER.stamp(b"x", at))}
    bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
    return bundle


def _stamped_in_parts(at: datetime) -> dict[str, Any]:
    """A timestamp nobody can verify, as a private instance's authority writes it."""
    bundle = STORE.attestation(TOLD, WHO, kind="intoto/0.0.2")
    stamp = {"signedTimestamp": b64(STORE.stamp(b"x", at, in_parts=True))}
    bundle["verificationMaterial"]["timestampVerificationData"] = {"rfc3161Timestamps": [stamp]}
    return bundle


def test_a_timestamp_that_cannot_be_verified_neither_helps_nor_harms_while_its_time_fits() -> None:
    assert verify(_stamped_in_parts(SIGNED)).signed_at == SIGNED
    verify(_stamped_in_parts(SIGNED), root=STORE.trusted_root(timestampAuthorities=[]))


def test_a_timestamp_cut_anywhere_is_refused() -> None:
    for in_parts in (False, True):
        whole = STORE.stamp(b"x", in_parts=in_parts)
        assert claimed_time(whole) == SIGNED
        for at in range(len(whole)):
            with pytest.raises(UnreadableSignature):
                claimed_time(whole[:at])


def _mixed() -> Signer:
    """A certificate whose proof of logging names the right log and is of another issuer's certificate."""
    store = Sigstore(certificate_log_key=STORE.certificate_log_key)
    signer = store.certify(by=Signer(STORE.issuer.key, STORE.issuer.certificate))
    real = STORE._logged
    try:
        STORE._logged = lambda body, by, at, key: real(b"other" + body, by, at, key)  # type: ignore[method-assign]
        return STORE.certify(key=signer.key)
    finally:
        STORE._logged = real  # type: ignore[method-assign]


@pytest.mark.parametrize("name", MADE)
def test_what_proves_something_else_is_refused_with_the_reason(name: str) -> None:
    make, reason = MADE[name]
    with pytest.raises(SignatureRefused, match=reason):
        verify(make())


KEYED: dict[str, tuple[Callable[[], dict[str, Any]], str]] = {
    "another key": (lambda: STORE.message(CONTENT, Signer(new_key()), logged=False), "the bundle names another key"),
    "a key of another curve": (lambda: STORE.message(CONTENT, Signer(new_key(ec.SECP521R1())), logged=False), "another curve"),
    "by an identity": (lambda: STORE.message(CONTENT, WHO), "with a certificate"),
    "another digest": (lambda: STORE.message(b"other", OWN, logged=False), "another digest"),
    "log entry of another key": (lambda: _other_entry(), "about another"),
    "statement of an unknown type": (lambda: STORE.attestation(statement(DIGEST, _type="https://in-toto.io/Statement/v2"), OWN, kind="hashedrekord/0.0.2", at=None), "is not known"),
    "log entry without proof": (lambda: STORE.message(CONTENT, OWN, proof=False), "no proof that the log"),
}  # fmt: skip


def _other_entry() -> dict[str, Any]:
    bundle = STORE.message(CONTENT, OWN)
    bundle["verificationMaterial"]["tlogEntries"] = STORE.message(CONTENT, Signer(new_key()))[
        "verificationMaterial"
    ]["tlogEntries"]
    return bundle


@pytest.mark.parametrize("name", KEYED)
def test_what_a_key_did_not_sign_is_refused_with_the_reason(name: str) -> None:
    make, reason = KEYED[name]
    with pytest.raises(SignatureRefused, match=reason):
        verify(make(), by_key())


def _without_start(root: dict[str, Any]) -> None:
    del root["tlogs"][0]["publicKey"]["validFor"]["start"]


def _log_of_the_past(root: dict[str, Any]) -> None:
    root["tlogs"][0]["publicKey"]["validFor"]["end"] = (SIGNED - timedelta(days=1)).isoformat()


def test_a_log_is_trusted_for_its_time_only() -> None:
    root = STORE.trusted_root()
    _log_of_the_past(root)
    for name in ("0.3", "envelope in intoto"):
        with pytest.raises(SignatureRefused, match="trusted"):
            verify(HOLDING[name], root=root)
    _without_start(root)
    with pytest.raises(InvalidTrust, match="start is missing"):
        verify(HOLDING["0.3"], root=root)


def test_a_timestamp_authority_does_not_lend_its_time_to_another() -> None:
    root = STORE.trusted_root()
    past = (SIGNED - timedelta(days=1)).isoformat()
    root["timestampAuthorities"][0]["validFor"]["end"] = past
    unrelated = OTHER.trusted_root()["timestampAuthorities"][0]
    root["timestampAuthorities"].append(unrelated)
    with pytest.raises(SignatureRefused, match="neither a log nor a timestamp authority"):
        verify(HOLDING["timestamp alone, second version of the log"], root=root)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{", b"\xff", b"{}", b'{"mediaType":7}', b'{"mediaType":"%s"}' % V3.encode(),
     b'{"mediaType":"%s","messageSignature":{},"verificationMaterial":{"publicKey":{}}}' % V3.encode(),
     b"[" * 100_000],
)  # fmt: skip
def test_bytes_that_are_no_bundle_are_refused(raw: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify_bundle(raw, SignedBytes(CONTENT), by_key(), None)


@pytest.mark.parametrize("name", ["0.1 with chain", "envelope in intoto", "envelope in hashedrekord"])
def test_a_bundle_with_any_field_of_another_type_is_refused_and_nothing_else_happens(name: str) -> None:
    root = parse_trust_root(json.dumps(STORE.trusted_root()).encode())
    for path in list(_paths(HOLDING[name])):
        if "promise" in str(path).lower() or path[-1] in ("keyid", "name"):
            continue
        for value in (None, 7, "", "AAAA", [], {}, "\N{SNOWMAN}"):
            bundle = copy.deepcopy(HOLDING[name])
            at: Any = bundle
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = value
            try:
                verify_bundle(json.dumps(bundle).encode(), SignedBytes(CONTENT), BY_IDENTITY, root)
            except SignatureRefused:
                continue


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["0.3", "envelope in intoto", "envelope in the second dsse"])
def test_a_certificate_or_entry_with_any_byte_changed_is_refused_and_nothing_else_happens(name: str) -> None:
    root = parse_trust_root(json.dumps(STORE.trusted_root()).encode())
    chance = random.Random(name)
    for _ in range(300):
        bundle = copy.deepcopy(HOLDING[name])
        material = bundle["verificationMaterial"]
        place, key = chance.choice(
            [(material["certificate"], "rawBytes"), (material["tlogEntries"][0], "canonicalizedBody")]
        )
        raw = bytearray(base64.b64decode(place[key]))
        at = chance.randrange(len(raw))
        raw[at] ^= chance.randrange(1, 256)
        place[key] = b64(bytes(raw))
        with pytest.raises(SignatureRefused):
            verify_bundle(json.dumps(bundle).encode(), SignedBytes(CONTENT), BY_IDENTITY, root)


def test_a_certificate_of_no_version_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="not a certificate"):
        read_certificate(WHO.der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x63", 1))
