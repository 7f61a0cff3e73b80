"""A Docker Registry's storage as it is found in the wild: filled by the real program, and damaged by hand."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.distribution import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, document
from tests.support.images import Image, digest_of, image, index, push_blob, push_image
from tests.support.peers import docker_registry
from tests.support.programs import require_program
from tests.support.wire import Wire

V2 = "docker/registry/v2"


@dataclass
class Filled:
    """What a registry was given, and what of it can't be moved."""

    root: Path
    manifests: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Bytes by repository and reference (tag or digest)."""
    blobs: dict[tuple[str, str], bytes] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    """What a report has to name."""

    @property
    def v2(self) -> Path:
        return self.root / V2

    def repository(self, name: str) -> Path:
        return self.v2 / "repositories" / name

    def data(self, digest: str) -> Path:
        algorithm, _, name = digest.partition(":")
        return self.v2 / "blobs" / algorithm / name[:2] / name / "data"

    def add(self, repository: str, tag: str | None, made: Image) -> None:
        self.manifests[repository, tag or made.digest] = made.manifest
        for digest, data in made.blobs.items():
            self.blobs[repository, digest] = data


def put(wire: Wire, repository: str, reference: str, raw: bytes, media_type: str) -> None:
    done = wire(
        "PUT", f"/v2/{repository}/manifests/{reference}", body=raw, headers={"Content-Type": media_type}
    )
    assert done.status == 201, done


def fill(folder: Path, *, port: int | None = None) -> Filled:
    """Images of both formats, an index, a signature, an untagged and a deleted image, a shared layer."""
    with docker_registry(folder, port=port) as peer:
        filled, wire = Filled(peer.root), Wire(peer.port)
        shared = {"base": b"base" * 5000}
        for repository, tag, made in (
            ("team/app", "v1", image([shared, {"a": b"1"}])),
            ("team/app", "docker", image([shared, {"a": b"2"}], docker=True)),
            ("other", "v1", image([shared, {"a": b"3"}])),
            ("deep/er/and/deeper", "Tag_1.x", image([shared])),
        ):
            push_image(wire, repository, tag, made)
            filled.add(repository, tag, made)
        children = [image([{"arch": name.encode()}], architecture=name) for name in ("amd64", "arm64")]
        for child in children:
            push_image(wire, "team/app", child.digest, child)
            filled.add("team/app", None, child)
        listed = index([(child, {"os": "linux", "architecture": "any"}) for child in children])
        put(wire, "team/app", "all", listed, OCI_INDEX)
        filled.manifests["team/app", "all"] = listed
        signature = signature_of(wire, "team/app", children[0])
        filled.manifests["team/app", digest_of(signature)] = signature
        gone = image([{"gone": b"gone"}])
        push_image(wire, "team/app", "gone", gone)
        assert wire("DELETE", f"/v2/team/app/manifests/{gone.digest}").status == 202
        push_blob(wire, "team/app", b"nobody refers to it")
        _copy_by_skopeo(peer.host, filled)
    return filled


def signature_of(wire: Wire, repository: str, subject: Image) -> bytes:
    """Push a manifest about another one; its bytes."""
    push_blob(wire, repository, b"{}")
    push_blob(wire, repository, b"signed")
    raw = document(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": "application/vnd.example.signature",
            "config": {"mediaType": OCI_CONFIG, "digest": digest_of(b"{}"), "size": 2},
            "layers": [{"mediaType": "text/plain", "digest": digest_of(b"signed"), "size": 6}],
            "subject": {
                "mediaType": subject.media_type,
                "digest": subject.digest,
                "size": len(subject.manifest),
            },
        }
    )
    put(wire, repository, digest_of(raw), raw, OCI_MANIFEST)
    return raw


def _copy_by_skopeo(host: str, filled: Filled) -> None:
    argv = [require_program("skopeo"), "copy", "--quiet", "--src-tls-verify=false", "--dest-tls-verify=false"]
    subprocess.run(
        [*argv, f"docker://{host}/team/app:v1", f"docker://{host}/copied/by/skopeo:v1"],
        check=True,
        capture_output=True,
    )
    filled.manifests["copied/by/skopeo", "v1"] = filled.manifests["team/app", "v1"]


def damage(filled: Filled) -> None:
    """What years and crashes leave behind; each is named in `lost`."""
    upper = filled.repository("Team/UPPER")
    shutil.copytree(filled.repository("other"), upper)
    bad_tag = filled.repository("other") / "_manifests/tags/-dash"
    shutil.copytree(filled.repository("other") / "_manifests/tags/v1", bad_tag)
    empty = filled.repository("other") / "_manifests/tags/empty/current"
    empty.mkdir(parents=True)
    (empty / "link").write_bytes(b"")
    filled.lost += ["Team/UPPER", "other:-dash", "other:empty"]
    broken = {
        "rotten": lambda made: filled.data(list(made.blobs)[1]).write_bytes(b"rot"),
        "turned": lambda made: _flip(filled.data(list(made.blobs)[1])),
        "unlinked": lambda made: _layer_link(filled, "broken/unlinked", list(made.blobs)[1]).unlink(),
        "absent": lambda made: filled.data(list(made.blobs)[1]).unlink(),
        "manifest": lambda made: filled.data(made.digest).write_bytes(b"{}"),
    }
    with docker_registry(filled.root.parent) as peer:
        wire = Wire(peer.port)
        made = {name: image([{name: name.encode()}]) for name in broken}
        for name, one in made.items():
            push_image(wire, f"broken/{name}", "v1", one)
        old = json.dumps({"schemaVersion": 1, "name": "x", "tag": "y", "fsLayers": []}).encode()
        carrier = image([{"schema": b"1"}])
        push_image(wire, "broken/schema1", "v1", carrier)
    _replace_manifest(filled, "broken/schema1", "v1", carrier.digest, old)
    for name, spoil in broken.items():
        spoil(made[name])
    filled.lost += [f"broken/{name}@" for name in (*broken, "schema1")]


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _layer_link(filled: Filled, repository: str, digest: str) -> Path:
    return filled.repository(repository) / "_layers/sha256" / digest.partition(":")[2] / "link"


def _replace_manifest(filled: Filled, repository: str, tag: str, old: str, raw: bytes) -> None:
    """As if `raw` had been pushed in the place of `old`."""
    digest = digest_of(raw)
    manifests = filled.repository(repository) / "_manifests"
    (manifests / "revisions/sha256" / old.partition(":")[2]).rename(
        manifests / "revisions/sha256" / digest.partition(":")[2]
    )
    (manifests / "revisions/sha256" / digest.partition(":")[2] / "link").write_text(digest)
    (manifests / "tags" / tag / "current/link").write_text(digest)
    filled.data(digest).parent.mkdir(parents=True, exist_ok=True)
    filled.data(digest).write_bytes(raw)
