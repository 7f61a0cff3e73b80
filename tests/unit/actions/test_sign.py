"""Signing in a real registry, and what is made of signatures in places of all kinds."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from entrepot.actions.copy import copy
from entrepot.actions.endpoints import Ends
from entrepot.actions.notation import read_policy, read_stores
from entrepot.actions.push import push
from entrepot.actions.sign import attest, sign
from entrepot.actions.signatures import (
    MAX_SIGNATURES,
    ImageThere,
    attach,
    find_signatures,
    open_image,
    open_to_sign,
)
from entrepot.actions.signing_keys import signing_key
from entrepot.actions.tag import tag
from entrepot.actions.verify import NotSigned, verify
from entrepot.client.settings import ClientSettings
from entrepot.errors import InvalidInput
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from entrepot.signing.errors import InvalidTrust
from tests.support.sigstore import Signer, new_key, pem
from tests.unit.images.makers import add_image


@pytest.fixture
def keys(tmp_path: Path) -> tuple[str, Path]:
    """Private and public key, in files."""
    key = new_key()
    private, public = tmp_path / "k", tmp_path / "k.pub"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    public.write_bytes(pem(key))
    return str(private), public


@pytest.fixture
def pushed(store: ImageStore, settings: ClientSettings, repository: str) -> str:
    add_image(store, "app:1", layers=("base",))
    tag("app:1", f"{repository}:1", store=store)
    push(f"{repository}:1", store=store, settings=settings)
    return f"{repository}:1"


def test_a_signature_and_an_attestation_go_along_with_the_image(
    pushed: str, keys: tuple[str, Path], store: ImageStore, settings: ClientSettings, tmp_path: Path
) -> None:
    private, public = keys
    (tmp_path / "p").write_text(json.dumps({"bomFormat": "CycloneDX"}))
    done = sign(pushed, key=private, store=store, settings=settings)
    attest(pushed, kind="cyclonedx", predicate=tmp_path / "p", key=private, store=store, settings=settings)
    copy(pushed, f"oci:{tmp_path}/layout:1", referrers=True, store=store, settings=settings)
    for place in (pushed, f"oci:{tmp_path}/layout:1"):
        found = verify(place, key=public, store=store, settings=settings)
        assert found.digest == done.digest
        assert {one.predicate_type for one in found.signatures} == {"", "https://cyclonedx.org/bom"}
        assert found.refused == ()


def test_nothing_is_signed_outside_of_registries(
    keys: tuple[str, Path], store: ImageStore, settings: ClientSettings
) -> None:
    add_image(store, "app:1")
    with pytest.raises(InvalidInput, match="in registries only"):
        sign("store:app:1", key=keys[0], store=store, settings=settings)
    with pytest.raises(NotSigned, match="has no signature"):
        verify("store:app:1", key=keys[1], store=store, settings=settings)


def test_a_flood_of_signatures_ends_and_does_not_hide_the_first(
    pushed: str, store: ImageStore, settings: ClientSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("entrepot.actions.signatures.MAX_SIGNATURES", 3)
    with Ends(store, settings) as ends, open_image(pushed, ends) as image:
        with open_to_sign(image, ends) as sink:
            for number in range(5):
                attach(sink, image, b"%d" % number, "application/vnd.dev.sigstore.bundle.v0.3+json", {})
        assert len(list(find_signatures(image))) == 3
        assert "more than 3" in image.skipped[0]
    assert MAX_SIGNATURES > 3


def test_a_referrer_of_something_else_is_passed_over(
    pushed: str, store: ImageStore, settings: ClientSettings
) -> None:
    kind = "application/vnd.dev.sigstore.bundle.v0.3+json"
    with Ends(store, settings) as ends, open_image(pushed, ends) as image:
        with open_to_sign(image, ends) as sink:
            attach(sink, image, b"{}", kind, {})
        listed = image.origin.referrers
        assert listed is not None
        lying = ImageThere(image.endpoint, image.origin, image.descriptor)
        object.__setattr__(lying.origin, "referrers", _Everything(listed.list_referrers(image.digest)))
        lying.descriptor = type(image.descriptor)(image.descriptor.media_type, Digest.of(b"another"), 1)
        assert list(find_signatures(lying)) == []
        assert "belongs to something else" in lying.skipped[0]


def _certify(key: object, folder: Path) -> Path:
    """A certificate that is its own root, and a trust store with it; the policy's file."""
    own = Signer(key)
    store = folder / "truststore" / "x509" / "ca" / "port"
    store.mkdir(parents=True)
    name = x509.Name([
        x509.NameAttribute(oid, text)
        for oid, text in (
            (NameOID.COUNTRY_NAME, "DE"), (NameOID.STATE_OR_PROVINCE_NAME, "HH"),
            (NameOID.ORGANIZATION_NAME, "port"), (NameOID.COMMON_NAME, "me"),
        )
    ])  # fmt: skip
    usage = x509.KeyUsage(True, False, False, False, False, True, False, False, False)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(own.key.public_key())
        .serial_number(7).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=9))
        .add_extension(usage, critical=True)
        .sign(own.key, hashes.SHA256())
    )  # fmt: skip
    for file in (folder / "chain.pem", store / "root.pem"):
        file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    policy = folder / "trustpolicy.json"
    one = {
        "name": "p", "registryScopes": ["*"], "signatureVerification": {"level": "strict"},
        "trustStores": ["ca:port"], "trustedIdentities": ["x509.subject: C=DE, ST=HH, O=port"],
    }  # fmt: skip
    policy.write_text(json.dumps({"version": "1.0", "trustPolicies": [one]}))
    return policy


def test_a_signature_of_notations_verifies_by_its_trust_policy(
    pushed: str, keys: tuple[str, Path], store: ImageStore, settings: ClientSettings, tmp_path: Path
) -> None:
    key = serialization.load_pem_private_key(Path(keys[0]).read_bytes(), None)
    policy = _certify(key, tmp_path)
    made = sign(pushed, key=keys[0], certificate_chain=tmp_path / "chain.pem", store=store, settings=settings)
    found = verify(pushed, notation_policy=policy, store=store, settings=settings)
    assert [str(one.manifest) for one in found.signatures] == [made.signature]
    assert found.signatures[0].verified.signer == "CN=me,O=port,ST=HH,C=DE"
    with pytest.raises(NotSigned, match="has no signature"):
        verify(pushed, key=keys[1], store=store, settings=settings)
    (tmp_path / "truststore" / "x509" / "ca" / "port" / "root.pem").write_bytes(b"nonsense")
    with pytest.raises(InvalidTrust, match="not a certificate"):
        verify(pushed, notation_policy=policy, store=store, settings=settings)


def test_trust_stores_have_no_links_and_are_not_empty(keys: tuple[str, Path], tmp_path: Path) -> None:
    policy = read_policy(
        _certify(serialization.load_pem_private_key(Path(keys[0]).read_bytes(), None), tmp_path), "h/a"
    )
    place = tmp_path / "truststore" / "x509" / "ca" / "port"
    assert len(read_stores(tmp_path / "truststore", policy)["ca:port"]) == 1
    (place / "link.pem").symlink_to("root.pem")
    with pytest.raises(InvalidTrust, match="can't be a link"):
        read_stores(tmp_path / "truststore", policy)
    for file in place.iterdir():
        file.unlink()
    with pytest.raises(InvalidTrust, match="is empty"):
        read_stores(tmp_path / "truststore", policy)
    with pytest.raises(InvalidTrust, match="is missing"):
        read_stores(tmp_path, policy)


class _Everything:
    """A registry that lists the same for everybody."""

    def __init__(self, listed: list[object]) -> None:
        self.listed = listed

    def list_referrers(self, *_: object) -> list[object]:
        return self.listed


def test_a_key_comes_from_one_place(keys: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    private, public = keys
    wanted = public.read_bytes()
    monkeypatch.setenv("K", Path(private).read_text())
    for key, command in ((private, None), ("env://K", None), (None, f"cat {private}")):
        assert pem(signing_key(key, command)) == wanted
    for key, command in (
        (None, None), (private, "cat x"), ("env://MISSING", None), (None, ""), (None, "'"), (None, "false"),
        (str(public), None),
    ):  # fmt: skip
        with pytest.raises(InvalidTrust):
            signing_key(key, command)
