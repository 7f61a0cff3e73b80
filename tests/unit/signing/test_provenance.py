# ruff: noqa: E501 - documents, as builders write them
"""Who built it, from what: as the builders that are in use say it."""

import json
from typing import Any

import pytest

from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.signing.buildkit import IN_TOTO_LAYER, attestation_entries, statement_layers
from entrepot.signing.dsse import Statement, parse_statement
from entrepot.signing.provenance import Provenance, read_provenance, split_source
from tests.support.sigstore import statement

COMMIT = "26d16513386ffaa790b1c32f927544f1322e4194"
V1, V02 = "https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v0.2"

WORKFLOW = {
    "buildDefinition": {
        "buildType": "https://build.example/workflow/v1",
        "externalParameters": {"workflow": {"ref": "refs/heads/main", "repository": "https://git.example/a/b", "path": ".ci/release.yml"}},
        "resolvedDependencies": [{"uri": "git+https://git.example/a/b@refs/heads/main", "digest": {"gitCommit": COMMIT}}],
    },
    "runDetails": {"builder": {"id": "https://build.example/hosted"}, "metadata": {"invocationId": "https://git.example/a/b/runs/1"}},
}  # fmt: skip
GENERATOR = {
    "builder": {"id": "https://build.example/generator@v1"}, "buildType": "https://build.example/generic@v1",
    "invocation": {"configSource": {"uri": "git+https://git.example/a/b@refs/tags/v1", "digest": {"sha1": COMMIT}, "entryPoint": "x"}, "parameters": {"debug": True}},
    "metadata": {"buildInvocationID": "7", "buildStartedOn": "2026-01-01T00:00:00Z"},
    "materials": [{"uri": "git+https://git.example/a/b@refs/tags/v1", "digest": {"sha1": COMMIT}}],
}  # fmt: skip
BUILDKIT_02 = {
    "builder": {"id": ""}, "buildType": "https://mobyproject.org/buildkit@v1",
    "materials": [{"uri": "pkg:docker/alpine@3.20?platform=linux%2Famd64", "digest": {"sha256": "ab" * 32}}],
    "invocation": {"configSource": {"entryPoint": "Dockerfile"}, "parameters": {"frontend": "dockerfile.v0", "args": {"build-arg:V": "1"}}},
    "metadata": {"https://mobyproject.org/buildkit@v1#metadata": {"vcs": {"source": "https://git.example/a/b.git", "revision": COMMIT}}},
}  # fmt: skip
BUILDKIT_1 = {
    "buildDefinition": {
        "buildType": "https://github.com/moby/buildkit/blob/master/docs/attestations/slsa-definitions.md",
        "externalParameters": {"configSource": {"uri": "https://git.example/a/b.git#refs/heads/main", "digest": {"sha1": COMMIT}, "path": "Dockerfile"}, "request": {"frontend": "dockerfile.v0"}},
    },
    "runDetails": {"builder": {"id": "https://build.example/runs/9"}, "metadata": {"startedOn": "2026-01-01T00:00:00Z"}},
}  # fmt: skip


def read(predicate: dict[str, Any], kind: str) -> Provenance:
    found = read_provenance(parse_statement(statement("0" * 64, kind, predicate=predicate)))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("predicate", "kind", "reference"),
    [(WORKFLOW, V1, "refs/heads/main"), (GENERATOR, V02, "refs/tags/v1"), (BUILDKIT_02, V02, ""),
     (BUILDKIT_1, V1, "refs/heads/main")],
    ids=["workflow", "generator", "BuildKit 0.2", "BuildKit 1"],
)  # fmt: skip
def test_source_and_commit_are_found_where_builders_put_them(
    predicate: dict[str, Any], kind: str, reference: str
) -> None:
    found = read(predicate, kind)
    assert (found.source, found.commit, found.reference) == ("https://git.example/a/b", COMMIT, reference)


def test_builder_parameters_and_materials() -> None:
    found = read(GENERATOR, V02)
    assert (found.builder, found.parameters) == ("https://build.example/generator@v1", {"debug": True})
    assert (found.invocation, found.started) == ("7", "2026-01-01T00:00:00Z")
    assert found.materials == (f"git+https://git.example/a/b@refs/tags/v1@sha1:{COMMIT}",)
    assert read(BUILDKIT_02, V02).parameters["args"] == {"build-arg:V": "1"}
    assert read(WORKFLOW, V1).parameters["workflow"]["path"] == ".ci/release.yml"


def test_another_statement_is_no_provenance() -> None:
    assert read_provenance(parse_statement(statement("0" * 64, "https://spdx.dev/Document"))) is None


@pytest.mark.parametrize("value", [None, 7, "text", [], [7], {"a": {}}, [[]], {"digest": 7, "uri": []}])
@pytest.mark.parametrize(("start", "kind"), [(WORKFLOW, V1), (GENERATOR, V02), (BUILDKIT_02, V02)])
def test_anything_may_stand_anywhere(start: dict[str, Any], kind: str, value: Any) -> None:
    def variants(document: Any) -> Any:
        yield value
        for key, inner in document.items() if isinstance(document, dict) else enumerate(document):
            for changed in variants(inner) if isinstance(inner, (dict, list)) else [value]:
                copy = json.loads(json.dumps(document))
                copy[key] = changed
                yield copy

    for predicate in variants(start):
        if isinstance(predicate, dict):
            found = read_provenance(Statement(({},), kind, predicate))
            assert found is not None
            assert all(isinstance(text, str) for text in (found.source, found.commit, *found.materials))


def test_sources_are_compared_without_what_varies() -> None:
    for written in (
        "git+https://h/a/b@refs/heads/x",
        "https://h/a/b.git#refs/heads/x",
        "https://h/a/b/@refs/heads/x",
    ):
        assert split_source(written) == ("https://h/a/b", "refs/heads/x")
    assert split_source("git+ssh://git.example/a") == ("ssh://git.example/a", "")
    assert split_source("pkg:docker/alpine@3") == ("", "")


def test_an_attestation_manifest_belongs_to_an_image_of_its_index() -> None:
    def descriptor(text: bytes, **annotations: str) -> Descriptor:
        return Descriptor(mediatype.OCI_MANIFEST, Digest.of(text), len(text), annotations=annotations)

    image = descriptor(b"image")

    def about(digest: object, text: bytes, kind: str = "attestation-manifest") -> Descriptor:
        notes = {"vnd.docker.reference.type": kind, "vnd.docker.reference.digest": str(digest)}
        return descriptor(text, **notes)

    real = about(image.digest, b"a")
    others = [
        about(Digest.of(b"elsewhere"), b"b"),
        about("nonsense", b"c"),
        about(image.digest, b"d", "other"),
    ]
    found = attestation_entries(build_index([image, real, *others]))
    assert [(one.descriptor, one.image) for one in found] == [(real, image.digest)]
    layer = Descriptor(IN_TOTO_LAYER, Digest.of(b"s"), 1, annotations={"in-toto.io/predicate-type": V1})
    assert statement_layers(build_manifest(image, [image, layer])) == [(V1, layer)]
