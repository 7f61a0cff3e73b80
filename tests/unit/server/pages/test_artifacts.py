"""Pages of what is no image: charts, signatures, SBOMs, files; and the commands that pull them."""

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.server.control.charts import MAX_UNPACKED_BYTES, MAX_VALUES_BYTES, values_of
from entrepot.server.pages.kit.artifact_view import artifact_view
from entrepot.server.pages.kit.commands import commands_for
from tests.unit.server.api.conftest import Registry
from tests.unit.server.pages.conftest import visit, words

OCI = "application/vnd.oci.image.manifest.v1+json"
EMPTY = "application/vnd.oci.empty.v1+json"
HELM = "application/vnd.cncf.helm.config.v1+json"
HELM_LAYER = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
IMAGE = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
COSIGN = "application/vnd.dev.cosign.simplesigning.v1+json"
WASM = "application/vnd.wasm.config.v0+json"
SUBJECT = "sha256:" + "a" * 64


def part(media_type: str, content: bytes = b"{}", **notes: str) -> dict[str, Any]:
    found: dict[str, Any] = {
        "mediaType": media_type,
        "digest": f"sha256:{hashlib.sha256(content).hexdigest()}",
        "size": len(content),
    }
    return {**found, "annotations": notes} if notes else found


def manifest(config: dict[str, Any], *layers: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"schemaVersion": 2, "mediaType": OCI, "config": config, "layers": layers, **more}
    ).encode()


def archive(**files: bytes) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/").replace("_yaml", ".yaml"))
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return gzip.compress(raw.getvalue())


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (manifest(part(IMAGE), part(LAYER)), None),
        (manifest(part(IMAGE)), None),
        (b'{"schemaVersion":2,"manifests":[]}', None),
        (b"no json", None),
        (b"[]", None),
        (manifest(part(HELM), part(HELM_LAYER)), "Helm chart"),
        (manifest(part(EMPTY), artifactType="application/spdx+json"), "SBOM (SPDX)"),
        (manifest(part(EMPTY), part("application/vnd.cyclonedx+json")), "SBOM (CycloneDX)"),
        (
            manifest(part(IMAGE), part(COSIGN)),
            "Signature (cosign)",
        ),
        (manifest(part(IMAGE), part("application/vnd.in-toto+json")), "Attestation (in-toto)"),
        (
            manifest(part(WASM), part("application/wasm")),
            "WebAssembly module",
        ),
        (manifest(part(EMPTY), part("text/plain"), artifactType="application/x-own"), "Artifact"),
    ],
)
def test_kind_is_what_a_manifest_says_of_itself(body: bytes, kind: str | None) -> None:
    found = artifact_view(body)
    assert (found.kind if found else None) == kind


def test_an_artifact_s_files_notes_and_subject_are_shown_as_text() -> None:
    title = {"org.opencontainers.image.title": "a\x1b[31m.txt"}
    body = manifest(
        part(EMPTY),
        part("text/plain", b"12345", **title),
        artifactType="application/x-own",
        annotations={"why": "because\x00"},
        subject={"mediaType": OCI, "digest": SUBJECT, "size": 1},
    )
    found = artifact_view(body)
    assert found is not None
    assert [(file.title, file.size) for file in found.files] == [("a�[31m.txt", 5)]
    assert found.annotations == [("why", "because�")]
    assert found.subject == SUBJECT


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)
FIELDS = ("config", "layers", "annotations", "subject", "artifactType", "mediaType", "manifests")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_whatever_a_manifest_holds_has_a_view_or_none(document: dict[str, Any]) -> None:
    found = artifact_view(json.dumps(document).encode())
    assert found is None or found.kind


def test_commands_are_those_of_what_can_pull_it() -> None:
    chart = artifact_view(manifest(part(HELM), part(HELM_LAYER)))
    texts = [one.text for one in commands_for(chart, "r.test", "acme/web", tag="1.2.0_build.5")]
    assert texts[0] == "helm pull oci://r.test/acme/web --version 1.2.0+build.5"
    assert "oras pull r.test/acme/web:1.2.0_build.5" in texts
    for body in (manifest(part(HELM), part(HELM_LAYER)), manifest(part(EMPTY), artifactType="application/x")):
        pinned = commands_for(artifact_view(body), "r.test", "acme/web", digest=SUBJECT)
        assert pinned[0].text == f"oras pull r.test/acme/web@{SUBJECT}"
        assert not any("docker pull" in one.text or "podman" in one.text for one in pinned)
    assert commands_for(None, "r.test", "acme/web", tag="v1")[0].text == "docker pull r.test/acme/web:v1"


def test_values_are_the_chart_s_own() -> None:
    files = {"web__charts__db__values_yaml": b"no: 1", "web__Chart_yaml": b"", "web__values_yaml": b"yes: 1"}
    assert values_of(archive(**files)) == "yes: 1"
    assert values_of(archive(web__Chart_yaml=b"name: web")) == ""


@given(st.binary(max_size=300))
def test_values_of_anything_are_text(raw: bytes) -> None:
    assert values_of(raw) == ""
    assert isinstance(values_of(gzip.compress(raw)), str)


def test_a_small_archive_of_much_is_not_unpacked_whole() -> None:
    """Ten thousand times its size would be memory that anybody who pushes has at hand."""
    packed = archive(web__big=bytes(4 * MAX_UNPACKED_BYTES), web__values_yaml=b"late: 1")
    assert len(packed) < MAX_UNPACKED_BYTES // 100
    assert values_of(packed) == ""
    long = values_of(archive(web__values_yaml=b"x" * (2 * MAX_VALUES_BYTES)))
    assert len(long) == MAX_VALUES_BYTES + 2
    assert long.endswith("…")


async def put(registry: Registry, tag: str, body: bytes, *blobs: bytes) -> None:
    for blob in blobs:
        digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
        path = f"/v2/acme/chart/blobs/uploads/?digest={digest}"
        answer = await registry.call("POST", path, "root", content=blob)
        assert answer.status_code == 201, answer.text
    answer = await registry.call(
        "PUT", f"/v2/acme/chart/manifests/{tag}", "root", content=body, headers={"content-type": OCI}
    )
    assert answer.status_code == 201, answer.text


@pytest.mark.anyio
async def test_a_chart_s_page_says_what_is_in_it_and_how_helm_gets_it(team: Registry) -> None:
    about = {
        "apiVersion": "v2",
        "name": "web",
        "version": "1.2.0",
        "appVersion": "7",
        "description": "Serves <b>pages</b>",
        "dependencies": [{"name": "db", "version": "2", "repository": "oci://charts.test"}],
    }
    config, packed = json.dumps(about).encode(), archive(web__values_yaml=b"replicas: 3\n")
    body = manifest(part(HELM, config), part(HELM_LAYER, packed), annotations={"note": "kept"})
    await put(team, "1.2.0", body, config, packed)
    pages = await visit(team, "owner")
    for path in ("/repositories/acme/chart/-/tags/1.2.0", "/repositories/acme/chart"):
        text = words(answer := await pages.get(path))
        assert answer.status_code == 200
        assert "helm pull oci://" in text
        assert "docker pull" not in text
    text = words(await pages.get("/repositories/acme/chart/-/tags/1.2.0"))
    for said in (
        "Helm chart",
        "web 1.2.0",
        "Serves &lt;b&gt;pages",
        "replicas: 3",
        "oci://charts.test",
        "kept",
    ):
        assert said in text


@pytest.mark.anyio
async def test_a_chart_whose_configuration_says_nothing_has_a_page(team: Registry) -> None:
    config, packed = b'{"dependencies": 7, "sources": [1]}', b"no gzip"
    await put(team, "bad", manifest(part(HELM, config), part(HELM_LAYER, packed)), config, packed)
    pages = await visit(team, "owner")
    assert (await pages.get("/repositories/acme/chart/-/tags/bad")).status_code == 200
