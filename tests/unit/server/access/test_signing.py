"""A1: a token counts only when our key, our algorithm, our names and the times are right."""

import base64
import hashlib
import hmac
import json
import subprocess
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OKPKey, RSAKey

from entrepot.server.access.decision.errors import InvalidToken
from entrepot.server.access.secrets.signing import Algorithm, KeyRing, generate_key

NOW = 1_800_000_000.0
RING = KeyRing((generate_key(issuer="entrepot", now=NOW),))
KEY = RING.keys[0]


def claims(**changed: Any) -> dict[str, Any]:
    made = {
        "iss": "entrepot",
        "aud": "us",
        "sub": "alice",
        "jti": "1",
        "iat": int(NOW),
        "nbf": int(NOW),
        "exp": int(NOW) + 300,
    }
    made.update(changed)
    return {key: value for key, value in made.items() if value is not None}


def verify(token: str, now: float = NOW) -> dict[str, Any]:
    return RING.verify(token, issuer="entrepot", audience="us", now=now)


def forged(
    header: dict[str, Any], payload: dict[str, Any] | None = None, signature: bytes = b"\0" * 64
) -> str:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    return ".".join(
        (part(json.dumps(header).encode()), part(json.dumps(payload or claims()).encode()), part(signature))
    )


def signed_with_header(**extra: Any) -> str:
    """Signed with the right key, but with a header of the attacker's choice."""
    body = forged({"alg": "ES256", "kid": KEY.kid, **extra}).rpartition(".")[0]
    r, s = decode_dss_signature(KEY.private.sign(body.encode(), ec.ECDSA(hashes.SHA256())))
    signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return f"{body}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def test_own_token_is_good() -> None:
    assert verify(signed_with_header())["sub"] == "alice"
    assert verify(RING.sign(claims(), now=NOW))["sub"] == "alice"


def test_other_libraries_read_it() -> None:
    token = RING.sign(claims(), now=NOW)
    assert (
        jwt.decode(token, ECKey.import_key(KEY.private_pem()), algorithms=["ES256"]).claims["sub"] == "alice"
    )


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none", "kid": KEY.kid},
        {"alg": "None", "kid": KEY.kid},
        {"alg": "HS256", "kid": KEY.kid},
        {"alg": "ES256"},
        {"alg": "ES256", "kid": "../../etc/passwd"},
        {"alg": "ES256", "kid": "' OR 1=1 --"},
        {"alg": "ES256", "kid": ["x"]},
        {"alg": "ES256", "kid": "AAAA" + ":AAAA" * 11},
        {"alg": ["ES256"], "kid": KEY.kid},
    ],
)
def test_forged_header_is_refused(header: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        verify(forged(header))


@pytest.mark.parametrize("header", ["alg", ["alg"], [], 7, None, True])
def test_header_that_is_no_object_is_refused(header: Any) -> None:
    with pytest.raises(InvalidToken):
        verify(forged(header))


@pytest.mark.parametrize("payload", [b"", b"[]", b"7", b"{", b"\xff", b"[" * 9000])
def test_signed_payload_that_is_no_object_is_refused(payload: bytes) -> None:
    token = jws.serialize_compact({"alg": "ES256", "kid": KEY.kid}, payload, ECKey.import_key(KEY.private))
    with pytest.raises(InvalidToken, match="malformed"):
        verify(token)


def test_public_key_is_no_hmac_secret() -> None:
    body = forged({"alg": "HS256", "kid": KEY.kid}).rpartition(".")[0]
    mac = hmac.new(KEY.certificate_pem.encode(), body.encode(), hashlib.sha256).digest()
    token = f"{body}.{base64.urlsafe_b64encode(mac + mac).rstrip(b'=').decode()}"
    with pytest.raises(InvalidToken):
        verify(token)


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c", "crit", "zip"])
def test_token_that_brings_its_own_key_is_refused(name: str) -> None:
    with pytest.raises(InvalidToken):
        verify(signed_with_header(**{name: ["x"]}))


def test_key_of_another_registry_is_refused() -> None:
    other = KeyRing((generate_key(issuer="entrepot", now=NOW),))
    with pytest.raises(InvalidToken):
        verify(other.sign(claims(), now=NOW))
    stranger = jwt.encode({"alg": "RS256", "kid": KEY.kid}, claims(), RSAKey.generate_key(2048))
    with pytest.raises(InvalidToken):
        verify(stranger)


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": "them"},
        {"aud": ["us"]},
        {"iss": "them"},
        {"iss": None},
        {"iat": None},
        {"nbf": None},
        {"exp": None},
        {"jti": None},
        {"exp": True},
        {"exp": "1900000000"},
        {"exp": int(NOW)},
        {"exp": int(NOW) - 600},
        {"nbf": int(NOW) + 31},
        {"iat": int(NOW) + 600},
    ],
)
def test_wrong_or_missing_claim_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken):
        verify(RING.sign(claims(**changed), now=NOW))


def test_lives_until_the_second_it_expires() -> None:
    token = RING.sign(claims(), now=NOW)
    assert verify(token, NOW + 299)
    assert verify(token, NOW - 30)
    for now in (NOW + 300, NOW - 31, NOW + 600, NOW - 600):
        with pytest.raises(InvalidToken):
            verify(token, now)


@pytest.mark.parametrize(
    "text",
    ["", "a", "a.b", "a.b.c", "....", "e30.e30.", "\x00.\x00.\x00", "x" * 20000, "é.é.é", "\udc80.a.b"],
)
def test_text_that_is_no_token_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        verify(text)


def test_every_changed_character_is_refused() -> None:
    token = RING.sign(claims(), now=NOW)
    for position in range(0, len(token) - 1, 7):
        if token[position] == ".":
            continue
        other = "A" if token[position] != "A" else "B"
        with pytest.raises(InvalidToken):
            verify(token[:position] + other + token[position + 1 :])


def test_retired_key_is_refused_and_newest_active_one_signs() -> None:
    old = generate_key(issuer="e", now=NOW)
    new = generate_key(issuer="e", now=NOW, active_at=NOW + 100)
    retired = type(old)(old.kid, old.private, old.certificate, old.active_at, retired_at=NOW + 500)
    ring = KeyRing((retired, new))
    assert ring.signer(NOW).kid == old.kid
    assert ring.signer(NOW + 100).kid == new.kid
    token = ring.sign(claims(iss="entrepot", exp=int(NOW) + 9999), now=NOW)
    assert ring.verify(token, issuer="entrepot", audience="us", now=NOW + 499)
    with pytest.raises(InvalidToken, match="retired"):
        ring.verify(token, issuer="entrepot", audience="us", now=NOW + 500)


def test_ed25519_tokens_are_read_by_others_and_by_us_alone_with_their_own_key() -> None:
    key = generate_key(issuer="entrepot", now=NOW, algorithm=Algorithm.ED25519)
    ring = KeyRing((KEY, key), Algorithm.ED25519)
    token = ring.sign(claims(), now=NOW)
    read = jwt.decode(token, OKPKey.import_key(key.private_pem()), algorithms=["Ed25519"])
    assert read.header["kid"] == key.kid
    assert ring.verify(token, issuer="entrepot", audience="us", now=NOW)["sub"] == "alice"
    for alg, kid in (("ES256", key.kid), ("Ed25519", KEY.kid)):
        swapped = forged({"alg": alg, "kid": kid}, claims(), key.private.sign(b"anything"))
        with pytest.raises(InvalidToken):
            ring.verify(swapped, issuer="entrepot", audience="us", now=NOW)


def test_other_registries_get_es256_whatever_ours_are() -> None:
    key = generate_key(issuer="entrepot", now=NOW, algorithm=Algorithm.ED25519)
    ring = KeyRing((KEY, key), Algorithm.ED25519)
    token = ring.sign(claims(), now=NOW, with_certificate=True)
    header = json.loads(base64.urlsafe_b64decode(token.partition(".")[0] + "=="))
    assert (header["alg"], header["kid"]) == ("ES256", KEY.kid)
    assert ring.certificates() == KEY.certificate_pem
    with pytest.raises(LookupError):
        KeyRing((key,)).sign(claims(), now=NOW, with_certificate=True)


def test_kid_is_the_fingerprint_docker_registry_computes() -> None:
    # SHA-256 of the SubjectPublicKeyInfo, cut to 30 bytes, base32 in groups of four.
    der = subprocess.run(
        ["openssl", "x509", "-pubkey", "-noout"],
        input=KEY.certificate_pem.encode(),
        capture_output=True,
        check=True,
    ).stdout
    spki = base64.b64decode(b"".join(der.splitlines()[1:-1]))
    digest = base64.b32encode(hashlib.sha256(spki).digest()[:30]).decode()
    assert KEY.kid == ":".join(digest[i : i + 4] for i in range(0, 48, 4))
