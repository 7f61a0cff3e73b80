"""Proof that a repository holds a whole image: every byte is read back and hashed."""

import json

from tests.support.images import digest_of
from tests.support.wire import Answer, Wire

_MANIFESTS = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_ACCEPT = {"Accept": ", ".join(_MANIFESTS)}


def manifest(wire: Wire, repository: str, reference: str) -> Answer:
    """The manifest, its digest header checked against its bytes."""
    answer = wire("GET", f"/v2/{repository}/manifests/{reference}", headers=_ACCEPT)
    assert answer.status == 200, answer
    assert answer.headers["docker-content-digest"] == digest_of(answer.body)
    return answer


def prove(wire: Wire, repository: str, reference: str) -> dict[str, str]:
    """Read everything `reference` names and hash it.

    Returns the digests by kind of the image (of an index, of its last image): `manifest`, `config`.
    """
    answer = manifest(wire, repository, reference)
    document = answer.json()
    for child in document.get("manifests", []):
        found = prove(wire, repository, child["digest"])
    if "manifests" in document:
        return found | {"index": digest_of(answer.body)}
    for blob in [document["config"], *document["layers"]]:
        read = wire("GET", f"/v2/{repository}/blobs/{blob['digest']}")
        assert read.status == 200, read
        assert digest_of(read.body) == blob["digest"]
        assert len(read.body) == blob["size"]
    return {"manifest": digest_of(answer.body), "config": document["config"]["digest"]}


def layers(wire: Wire, repository: str, reference: str) -> list[str]:
    """The diff IDs of an image's layers, from its config."""
    config = manifest(wire, repository, reference).json()["config"]["digest"]
    document = json.loads(wire("GET", f"/v2/{repository}/blobs/{config}").body)
    return list(document["rootfs"]["diff_ids"])
