"""URLs of a content delivery network, signed as CloudFront asks (canned policy)."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from entrepot.errors import InvalidInput
from entrepot.server.storage.cdn import CdnUrls

PHYS = "blobs/" + "a" * 32 + "/" + "0" * 20 + "." + "b" * 16


def key_file(folder: Path, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> Path:
    path = folder / "key.pem"
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def test_url_is_signed_until_it_expires(tmp_path: Path) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    urls = CdnUrls("https://cdn.example/r/", key_id="K1", key_file=key_file(tmp_path, key), now=lambda: 1000)
    made = urlsplit(urls(PHYS, timedelta(seconds=600)))
    asked = {name: values[0] for name, values in parse_qs(made.query).items()}
    assert made.path == f"/r/{PHYS}"
    assert (asked["Expires"], asked["Key-Pair-Id"]) == ("1600", "K1")
    until = {"DateLessThan": {"AWS:EpochTime": 1600}}
    statement = {"Resource": f"https://cdn.example/r/{PHYS}", "Condition": until}
    policy = json.dumps({"Statement": [statement]}, separators=(",", ":"))
    plain = asked["Signature"].translate(str.maketrans("-_~", "+=/"))
    key.public_key().verify(base64.b64decode(plain), policy.encode(), PKCS1v15(), SHA1())


def test_without_a_key_it_is_the_prefix_and_the_name() -> None:
    assert CdnUrls("https://cdn.example")(PHYS, timedelta(1)) == f"https://cdn.example/{PHYS}"


def test_other_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="RSA"):
        CdnUrls("https://c", key_id="K", key_file=key_file(tmp_path, ec.generate_private_key(ec.SECP256R1())))
    with pytest.raises(InvalidInput, match="read"):
        CdnUrls("https://c", key_id="K", key_file=tmp_path / "none.pem")
