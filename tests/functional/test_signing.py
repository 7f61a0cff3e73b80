"""`sign`, `attest` and `verify` in a real registry, and others' verifiers on what we signed."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey

from tests.support.images import OCI_INDEX, image, index, push_image
from tests.support.server import RunningServer
from tests.support.sigstore import IDENTITY, ISSUER, Sigstore, b64, sign, statement
from tests.support.tool import Tool
from tests.support.wire import Wire

AMD, ARM = image(({"a": b"amd"},)), image(({"a": b"arm"},), architecture="arm64")
SIGN = "https://sigstore.dev/cosign/sign/v1"


class Repo:
    """A repository with an image of its own at tag 1, and of several platforms at tag both."""

    def __init__(self, hub: RunningServer, name: str) -> None:
        self.name, self.hub = name, hub
        self.wire = Wire(hub.port)
        push_image(self.wire, name, "1", AMD)
        push_image(self.wire, name, "arm", ARM)
        both = index(
            [(AMD, {"os": "linux", "architecture": "amd64"}), (ARM, {"os": "linux", "architecture": "arm64"})]
        )
        self.wire("PUT", f"/v2/{name}/manifests/both", body=both, headers={"Content-Type": OCI_INDEX})

    @property
    def image(self) -> str:
        return f"{self.hub.host}/{self.name}:1"

    def digest(self, reference: str = "1") -> str:
        return str(
            self.wire("HEAD", f"/v2/{self.name}/manifests/{reference}").headers["docker-content-digest"]
        )

    def manifest(self, reference: str) -> Any:
        return json.loads(self.wire("GET", f"/v2/{self.name}/manifests/{reference}").body)

    def blob(self, digest: str) -> bytes:
        return self.wire("GET", f"/v2/{self.name}/blobs/{digest}").body


@pytest.fixture
def repo(hub: RunningServer, request: pytest.FixtureRequest) -> Repo:
    name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
    while "--" in name:
        name = name.replace("--", "-")
    return Repo(hub, f"signing/{name}")


def write_key(folder: Path, name: str = "key", password: bytes | None = None) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private, public = folder / name, folder / f"{name}.pub"
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(pem, pkcs8, how))
    public.write_bytes(key.public_key().public_bytes(pem, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.mark.parametrize("form", ["current", "old"])
def test_what_was_signed_verifies_and_by_no_other_key(tool: Tool, repo: Repo, form: str) -> None:
    private, public = write_key(tool.home)
    options = ["--old-form"] if form == "old" else []
    assert repo.digest() in tool.out("sign", repo.image, "--key", private, *options)
    assert tool.out("verify", "-q", repo.image, "--key", public) == f"{repo.digest()}\n"
    _, other = write_key(tool.home, name="other")
    assert "wrong signature for this" in tool.err("verify", repo.image, "--key", other)


def test_a_signature_has_the_form_cosign_reads(tool: Tool, repo: Repo) -> None:
    private, _ = write_key(tool.home)
    made = tool.out("sign", "-q", "-a", "build=7", repo.image, "--key", private).strip()
    listed = json.loads(repo.wire("GET", f"/v2/{repo.name}/referrers/{repo.digest()}").body)["manifests"]
    assert [one["digest"] for one in listed] == [made]
    assert listed[0]["artifactType"] == "application/vnd.dev.sigstore.bundle.v0.3+json"
    assert listed[0]["annotations"]["dev.sigstore.bundle.predicateType"] == SIGN
    manifest = repo.manifest(made)
    assert manifest["config"]["mediaType"] == "application/vnd.oci.empty.v1+json"
    bundle = json.loads(repo.blob(manifest["layers"][0]["digest"]))
    assert bundle["mediaType"] == manifest["layers"][0]["mediaType"] == listed[0]["artifactType"]


def test_another_implementation_of_envelopes_accepts_ours(tool: Tool, repo: Repo) -> None:
    private, public = write_key(tool.home)
    made = tool.out("sign", "-q", repo.image, "--key", private).strip()
    bundle = json.loads(repo.blob(repo.manifest(made)["layers"][0]["digest"]))
    envelope = bundle["dsseEnvelope"]
    key = SSlibKey.from_crypto(serialization.load_pem_public_key(public.read_bytes()))
    envelope["signatures"][0]["keyid"] = key.keyid  # it asks for one; nothing of it is signed
    read = Envelope.from_dict(envelope)
    assert len(read.verify([key], 1)) == 1
    said = json.loads(read.payload)
    assert said["subject"][0]["digest"] == {"sha256": repo.digest().removeprefix("sha256:")}
    assert said["predicateType"] == SIGN


def test_an_index_is_signed_with_all_its_images_and_what_moves_is_no_longer_signed(
    tool: Tool, repo: Repo
) -> None:
    private, public = write_key(tool.home)
    name = f"{repo.hub.host}/{repo.name}:both"
    tool.run("sign", name, "--key", private)
    assert tool.out("verify", "-q", name, "--key", public) == f"{repo.digest('both')}\n"
    assert "has no signature" in tool.err("verify", repo.image, "--key", public)
    shown = tool.out("tree", name)
    assert "├── linux/amd64  sha256:" in shown
    assert "└── signature (sigstore)  sha256:" in shown
    assert json.loads(tool.out("tree", "--format", "json", name))["digest"] == repo.digest("both")
    push_image(repo.wire, repo.name, "both", ARM)
    assert "has no signature" in tool.err("verify", name, "--key", public)


def test_old_signatures_add_up_below_one_tag(tool: Tool, repo: Repo) -> None:
    publics = []
    for name in ("one", "two"):
        private, public = write_key(tool.home, name=name)
        tool.run("sign", "--old-form", repo.image, "--key", private)
        publics.append(public)
    tag = repo.digest().replace(":", "-") + ".sig"
    manifest = repo.manifest(tag)
    assert len(manifest["layers"]) == 2
    config = json.loads(repo.blob(manifest["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == [one["digest"] for one in manifest["layers"]]
    for public in publics:
        assert "Passed over" in tool.out("verify", repo.image, "--key", public)


def test_a_key_comes_from_the_environment_or_a_command_and_may_be_encrypted(tool: Tool, repo: Repo) -> None:
    private, public = write_key(tool.home, password=b"secret")
    password = {"ENTREPOT_KEY_PASSWORD": "secret"}
    tool.run("sign", repo.image, "--key", "env://K", env={"K": private.read_text(), **password})
    tool.run("sign", repo.image, "--key-command", f"cat '{private}'", env=password)
    assert tool.out("verify", repo.image, "--key", public).count("Verified: ") == 2
    assert "the key is encrypted" in tool.err("sign", repo.image, "--key", private)
    wrong = tool.run("sign", repo.image, "--key", private, code=1, env={"COSIGN_PASSWORD": "guess"})
    assert b"password does not open the key" in wrong.stderr
    assert b"guess" not in wrong.stderr
    assert "env" not in tool.err("sign", repo.image)
    for broken in ("--key env://NONE", "--key-command false", f"--key {public}", "--key /nowhere"):
        assert "internal error" not in tool.err("sign", repo.image, *broken.split())


PREDICATES: dict[str, tuple[dict[str, Any], str]] = {
    "slsaprovenance": (
        {"buildDefinition": {}, "runDetails": {"builder": {"id": "b"}}},
        "https://slsa.dev/provenance/v1",
    ),
    "vuln": ({"scanner": {}}, "https://cosign.sigstore.dev/attestation/vuln/v1"),
    "https://example.org/own": ({"a": [1]}, "https://example.org/own"),
}


def test_attestations_are_of_a_type_and_are_no_signature(tool: Tool, repo: Repo) -> None:
    private, public = write_key(tool.home)
    for kind, (predicate, _) in PREDICATES.items():
        (tool.home / "predicate").write_text(json.dumps(predicate))
        tool.run("attest", repo.image, "--type", kind, "--predicate", "predicate", "--key", private)
    assert "has no signature by this signer, only" in tool.err("verify", repo.image, "--key", public)
    for kind, (_, told) in PREDICATES.items():
        assert f"States: {told}\n" in tool.out("verify", repo.image, "--type", kind, "--key", public)
    assert "no attestation of the type openvex" in tool.err(
        "verify", repo.image, "--type", "openvex", "--key", public
    )
    options = ["--predicate", "predicate", "--key", private]
    assert "known are" in tool.err("attest", repo.image, "--type", "sbom", *options)
    (tool.home / "predicate").write_text("[]")
    assert "not a JSON object" in tool.err("attest", repo.image, "--type", "spdx", *options)


def _put(repo: Repo, layers: list[tuple[bytes, str, dict[str, str]]], tag: str) -> None:
    """A manifest as cosign 2 puts it below a tag."""
    from tests.support.images import push_blob

    described = [
        {
            "mediaType": kind,
            "digest": push_blob(repo.wire, repo.name, raw),
            "size": len(raw),
            "annotations": notes,
        }
        for raw, kind, notes in layers
    ]
    config = {"mediaType": "application/vnd.oci.image.config.v1+json",
              "digest": push_blob(repo.wire, repo.name, b"{}"), "size": 2}  # fmt: skip
    manifest = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config, "layers": described}  # fmt: skip
    repo.wire(
        "PUT", f"/v2/{repo.name}/manifests/{tag}", body=json.dumps(manifest).encode(),
        headers={"Content-Type": manifest["mediaType"]},
    )  # fmt: skip


def _logged(store: Sigstore, kind: str, spec: dict[str, Any]) -> str:
    """The annotation with the log's promise."""
    entry = store.entry(*kind.split("/"), spec)
    payload = {
        "body": entry["canonicalizedBody"], "integratedTime": int(entry["integratedTime"]),
        "logIndex": int(entry["logIndex"]), "logID": store.log_id.hex(),
    }  # fmt: skip
    return json.dumps(
        {"SignedEntryTimestamp": entry["inclusionPromise"]["signedEntryTimestamp"], "Payload": payload}
    )


def test_what_cosign_2_signed_by_identity_verifies(tool: Tool, repo: Repo) -> None:
    import hashlib

    store = Sigstore()
    signer, other = store.certify(), store.certify(identity="https://evil.example")
    digest = repo.digest()
    document = json.dumps({
        "critical": {"identity": {"docker-reference": "x"}, "image": {"docker-manifest-digest": digest},
                     "type": "cosign container image signature"}, "optional": None,
    }).encode()  # fmt: skip
    layers = []
    for one in (signer, other):
        signature = sign(one.key, document)
        spec = store.hashedrekord("hashedrekord/0.0.1", signature, hashlib.sha256(document).digest(), one)
        notes = {
            "dev.cosignproject.cosign/signature": b64(signature),
            "dev.sigstore.cosign/certificate": one.pem.decode(),
            "dev.sigstore.cosign/bundle": _logged(store, "hashedrekord/0.0.1", spec),
        }
        layers.append((document, "application/vnd.dev.cosign.simplesigning.v1+json", notes))
    tag = digest.replace(":", "-")
    _put(repo, layers, f"{tag}.sig")
    payload = statement(digest.removeprefix("sha256:"), "https://slsa.dev/provenance/v0.2")
    signature = sign(signer.key, b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(payload), payload))
    envelope = {"payloadType": "application/vnd.in-toto+json", "payload": b64(payload),
                "signatures": [{"keyid": "", "sig": b64(signature)}]}  # fmt: skip
    notes = {
        "dev.cosignproject.cosign/signature": "",
        "dev.sigstore.cosign/certificate": signer.pem.decode(),
        "dev.sigstore.cosign/bundle": _logged(
            store, "intoto/0.0.1", store.recorded("intoto/0.0.1", payload, signature, signer)
        ),
    }
    _put(
        repo, [(json.dumps(envelope).encode(), "application/vnd.dsse.envelope.v1+json", notes)], f"{tag}.att"
    )
    (tool.home / "root").write_text(json.dumps(store.trusted_root()))
    whom = ["--identity", IDENTITY, "--issuer", ISSUER, "--trusted-root", "root"]
    out = tool.out("verify", repo.image, *whom)
    assert f"signed by {IDENTITY} ({ISSUER}) at 2026-03-01 12:00:05 UTC" in out
    assert "signed by https://evil.example, not by" in out
    assert "provenance/v0.2" in tool.out("verify", repo.image, "--type", "slsaprovenance", *whom)
    (tool.home / "root").write_text(json.dumps(Sigstore().trusted_root()))
    assert "the trust root knows no log" in tool.err("verify", repo.image, *whom)


def test_what_only_looks_like_a_signature_stands_in_nobodys_way(tool: Tool, repo: Repo) -> None:
    private, public = write_key(tool.home)
    tag = repo.digest().replace(":", "-")
    kind = "application/vnd.dev.cosign.simplesigning.v1+json"
    _put(repo, [(b"{}", kind, {}), (b"\xff", kind, {}), (b"x", "text/plain", {})], f"{tag}.sig")
    assert "has no signature that holds" in tool.err("verify", repo.image, "--key", public)
    tool.run("sign", repo.image, "--key", private)
    assert tool.out("verify", repo.image, "--key", public).count("Passed over") == 3


def test_the_keys_that_the_documentation_makes_sign_as_cosign_and_as_notation(tool: Tool, repo: Repo) -> None:
    page = (Path(__file__).parents[2] / "docs" / "sign.md").read_text()
    made = "\n".join(part.split("```")[0] for part in page.split("```sh\n")[1:]).replace("\\\n", " ")
    commands = [line for line in made.splitlines() if line.startswith("openssl")]
    assert len(commands) == 3
    for command in commands:
        subprocess.run(["sh", "-c", command], cwd=tool.home, check=True, capture_output=True, timeout=60)
    store = tool.home / "truststore" / "x509" / "ca" / "port"
    store.mkdir(parents=True)
    (store / "root.pem").write_bytes((tool.home / "chain.pem").read_bytes())
    policy = {
        "name": "ours", "registryScopes": [f"{repo.hub.host}/{repo.name}"],
        "signatureVerification": {"level": "strict"}, "trustStores": ["ca:port"],
        "trustedIdentities": ["x509.subject: C=DE, ST=HH, O=port"],
    }  # fmt: skip
    (tool.home / "policy").write_text(json.dumps({"version": "1.0", "trustPolicies": [policy]}))
    tool.run("sign", repo.image, "--key", "signing.key")
    tool.run(
        "sign", repo.image, "--key", "signing.key", "--certificate-chain", "chain.pem", "--expires-in", "90"
    )
    assert "ECDSA P-256 key signing.pub" in tool.out("verify", repo.image, "--key", "signing.pub")
    out = tool.out("verify", repo.image, "--notation-trust-policy", "policy")
    assert "signed by CN=me,O=port,ST=HH,C=DE" in out
    assert "no trust policy is for" in tool.err(
        "verify", f"{repo.hub.host}/other/app:1", "--notation-trust-policy", "policy"
    )
