"""Manifests: what real tools write is read, what could be two things is refused (M1-M7)."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import (
    DEFAULT,
    ImageManifest,
    Index,
    InvalidManifest,
    ManifestTooLarge,
    build_index,
    build_manifest,
    parse_manifest,
)
from entrepot.oci.platform import Platform

CONFIG = {"mediaType": mediatype.OCI_CONFIG, "digest": str(Digest.of(b"config")), "size": 6}
LAYER = {"mediaType": mediatype.OCI_LAYER_GZIP, "digest": str(Digest.of(b"layer")), "size": 5}
CHILD = {"mediaType": mediatype.OCI_MANIFEST, "digest": str(Digest.of(b"child")), "size": 5}


UNKNOWN = {"os": "unknown", "architecture": "unknown"}
OTHER_TYPE = "application/vnd.example+json"


def image(**fields: Any) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": mediatype.OCI_MANIFEST,
        "config": CONFIG,
        "layers": [LAYER],
    } | fields


def index(**fields: Any) -> dict[str, Any]:
    return {"schemaVersion": 2, "mediaType": mediatype.OCI_INDEX, "manifests": [CHILD]} | fields


def without(document: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in keys}


def parse(document: object, media_type: str | None = None) -> ImageManifest | Index:
    return parse_manifest(json.dumps(document).encode(), media_type)


ACCEPTED: dict[str, tuple[dict[str, Any], str | None]] = {
    "OCI image": (image(), mediatype.OCI_MANIFEST),
    "OCI image, type only in the header": (without(image(), "mediaType"), mediatype.OCI_MANIFEST),
    "OCI image, type nowhere": (without(image(), "mediaType"), None),
    "header with parameters": (image(), mediatype.OCI_MANIFEST + "; charset=utf-8"),
    "docker image": (image(mediaType=mediatype.DOCKER_MANIFEST), mediatype.DOCKER_MANIFEST),
    "docker list": (index(mediaType=mediatype.DOCKER_LIST), mediatype.DOCKER_LIST),
    "OCI index": (index(), mediatype.OCI_INDEX),
    "empty index": (index(manifests=[]), mediatype.OCI_INDEX),
    "index within an index": (index(manifests=[CHILD | {"mediaType": mediatype.OCI_INDEX}]), None),
    "attestation": (index(manifests=[CHILD | {"platform": UNKNOWN}]), None),
    "no layers": (image(layers=[]), None),
    "layers null, as Go writes them": (image(layers=None), None),
    "unknown fields": (image(x={"y": [1.5, None]}, config=CONFIG | {"z": 1}), None),
    "unknown types of layers and config": (
        image(config=CONFIG | {"mediaType": "a/b"}, layers=[LAYER | {"mediaType": "text/plain"}]),
        None,
    ),
    "unknown type of manifest": (image(mediaType=OTHER_TYPE), OTHER_TYPE),
    "type as people make one up": (image(layers=[LAYER | {"mediaType": "text/plain; charset=utf-8"}]), None),
    "types of the greatest length": (
        image(layers=[LAYER | {"mediaType": "x" * 255}], artifactType="y" * 255),
        None,
    ),
    "artifact": (image(artifactType="application/x", subject=CHILD, annotations={"a": "b"}), None),
    "inlined data": (image(config=CONFIG | {"data": base64.b64encode(b"config").decode()}), None),
    "sha512": (image(layers=[LAYER | {"digest": str(Digest.of(b"layer", "sha512"))}]), None),
    "the same layer twice": (image(layers=[LAYER, LAYER]), None),
    "size zero": (image(layers=[LAYER | {"size": 0}]), None),
}

REFUSED: dict[str, tuple[Any, str | None]] = {
    "layers and manifests (M3)": (image(manifests=[CHILD]), None),
    "config and manifests": (index(config=CONFIG), None),
    "index type with layers": (image(mediaType=mediatype.OCI_INDEX), mediatype.OCI_INDEX),
    "image type with manifests": (index(mediaType=mediatype.OCI_MANIFEST), mediatype.OCI_MANIFEST),
    "mediaType is not the Content-Type (M3)": (image(), mediatype.DOCKER_MANIFEST),
    "index sent as an image": (index(), mediatype.OCI_MANIFEST),
    "schema 1 (M3)": ({"schemaVersion": 1, "fsLayers": []}, mediatype.DOCKER_SCHEMA1_SIGNED),
    "schema 1 layers beside an image": (image(fsLayers=[]), None),
    "look-alike field": (image(Layers=[]), None),
    "look-alike field, another alphabet": (image() | {"layer\u017f": []}, None),
    "look-alike in a descriptor": (image(config=CONFIG | {"Digest": LAYER["digest"]}), None),
    "no config": (without(image(), "config"), None),
    "no manifests": (without(index(), "manifests"), mediatype.OCI_INDEX),
    "nothing": ({}, None),
    "a list": ([], None),
    "schemaVersion missing": (without(image(), "schemaVersion"), None),
    "schemaVersion true": (image(schemaVersion=True), None),
    "schemaVersion 3": (image(schemaVersion=3), None),
    "layers an object": (image(layers={}), None),
    "layer null": (image(layers=[None]), None),
    "annotations a list": (image(annotations=[]), None),
    "annotation a number": (image(annotations={"a": 1}), None),
    "mediaType a number": (image(mediaType=1), None),
    "subject a text": (image(subject="x"), None),
    "config without type": (image(config=without(CONFIG, "mediaType")), None),
    "size negative (M7)": (image(layers=[LAYER | {"size": -1}]), None),
    "size 2^63 (M7)": (image(layers=[LAYER | {"size": 2**63}]), None),
    "size true (M2)": (image(layers=[LAYER | {"size": True}]), None),
    "size a float (M2)": (image(layers=[LAYER | {"size": 5.0}]), None),
    "size a text": (image(layers=[LAYER | {"size": "5"}]), None),
    "size missing": (image(layers=[without(LAYER, "size")]), None),
    "digest a path (K7)": (image(layers=[LAYER | {"digest": "sha256:../../x"}]), None),
    "digest of an unknown algorithm": (image(layers=[LAYER | {"digest": "md5:" + "a" * 32}]), None),
    "data of another content": (image(config=CONFIG | {"data": "eA=="}), None),
    "data not base64": (image(config=CONFIG | {"data": "?"}), None),
    "platform a text": (index(manifests=[CHILD | {"platform": "linux/amd64"}]), None),
    "platform os a number": (index(manifests=[CHILD | {"platform": {"os": 1}}]), None),
    "urls a text": (image(layers=[LAYER | {"urls": "http://x"}]), None),
    "too many layers": (image(layers=[LAYER] * 1001), None),
    "too wide an index (M5)": (index(manifests=[CHILD] * 1001), None),
    "annotation above 64 KiB": (image(annotations={"a": "x" * 65_536}), None),
    "a web page": (image(mediaType="text/html"), "text/html"),
    "a web page, type only in the header": (without(image(), "mediaType"), "text/html; x=+json"),
    "a script": (without(image(), "mediaType"), "application/javascript"),
    "JSON of no kind": (without(image(), "mediaType"), "application/json"),
    "a form": (without(image(), "mediaType"), "application/x-www-form-urlencoded"),
    "mediaType with a line break": (image(mediaType="application/x\r\nX-Evil: 1+json"), None),
    "mediaType with a parameter": (image(mediaType=OTHER_TYPE + ";a=b+json"), None),
    "mediaType too long": (image(mediaType="application/" + "x" * 256 + "+json"), None),
    "mediaType with a line break at its end": (image(mediaType=OTHER_TYPE + "\n"), None),
    "artifactType with a line break": (image(artifactType="a/b\n"), None),
    "artifactType too long": (image(artifactType="a/" + "b" * 254), None),
    "config with a control in its type": (image(config=CONFIG | {"mediaType": "a/b\x1b[31m"}), None),
    "layer with a line break in its type": (image(layers=[LAYER | {"mediaType": "a/\r\nb"}]), None),
    "layer with a type beyond ASCII": (image(layers=[LAYER | {"mediaType": "a/\u202eb"}]), None),
    "child with a control in its artifactType": (index(manifests=[CHILD | {"artifactType": "\x7f"}]), None),
    "subject with a type too long": (image(subject=CHILD | {"mediaType": "x" * 256}), None),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_tools_write_is_read_and_its_bytes_stay(name: str) -> None:
    document, media_type = ACCEPTED[name]
    raw = json.dumps(document, indent=3).encode() + b"\n"
    parsed = parse_manifest(raw, media_type)
    assert parsed.raw == raw
    assert parsed.digest() == Digest.of(raw)
    assert isinstance(parsed, Index if "manifests" in document else ImageManifest)


@pytest.mark.parametrize("name", REFUSED)
def test_what_could_be_two_things_is_refused(name: str) -> None:
    document, media_type = REFUSED[name]
    with pytest.raises(InvalidManifest):
        parse(document, media_type)


def test_m1_four_mebibytes_are_the_limit() -> None:
    raw = json.dumps(image()).encode()
    full = raw + b" " * (DEFAULT.max_bytes - len(raw))
    assert parse_manifest(full, None).raw == full
    with pytest.raises(ManifestTooLarge):
        parse_manifest(full + b" ", None)


def test_m2_duplicate_fields_are_refused() -> None:
    raw = json.dumps(image()).replace('"layers"', '"config": {}, "layers"').encode()
    with pytest.raises(InvalidManifest, match="duplicate"):
        parse_manifest(raw, None)


def test_references_of_an_image_are_config_and_layers_once_each() -> None:
    blobs, children = parse(image(layers=[LAYER, LAYER])).references()
    assert [str(blob.digest) for blob in blobs] == [CONFIG["digest"], LAYER["digest"]]
    assert children == ()


def test_layers_others_serve_are_not_required() -> None:
    foreign = LAYER | {"mediaType": mediatype.DOCKER_FOREIGN_LAYER, "urls": ["https://example.com/l"]}
    blobs, _ = parse(image(layers=[foreign])).references()
    assert [str(blob.digest) for blob in blobs] == [CONFIG["digest"]]
    blobs, _ = parse(image(layers=[without(foreign, "urls")])).references()
    assert len(blobs) == 2


def test_references_of_an_index_are_its_manifests() -> None:
    cache = {"mediaType": "application/vnd.buildkit.cacheconfig.v0"} | without(LAYER, "mediaType")
    blobs, children = parse(index(manifests=[CHILD, LAYER, cache, CHILD])).references()
    assert [str(child.digest) for child in children] == [CHILD["digest"]]
    assert [str(blob.digest) for blob in blobs] == [LAYER["digest"]]


def test_the_artifact_type_falls_back_to_the_config() -> None:
    plain, typed = parse(image()), parse(image(artifactType="application/x"))
    assert plain.effective_artifact_type == mediatype.OCI_CONFIG
    assert typed.effective_artifact_type == "application/x"
    assert parse(index()).effective_artifact_type is None


_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
_optional_text = st.none() | st.text("abc.", min_size=1, max_size=8)
_platforms = st.builds(
    Platform,
    st.sampled_from(["linux", "windows", ""]),
    st.sampled_from(["amd64", "arm", ""]),
    _optional_text,
    _optional_text,
    st.lists(st.text("ab", min_size=1, max_size=3), max_size=2).map(tuple),
)


@st.composite
def _descriptors(draw: st.DrawFn) -> Descriptor:
    data = draw(st.binary(max_size=20))
    return Descriptor(
        draw(st.sampled_from([*sorted(mediatype.LAYERS | mediatype.MANIFESTS), "text/plain"])),
        Digest.of(data, draw(st.sampled_from(["sha256", "sha512"]))),
        len(data),
        urls=tuple(draw(st.lists(_text, max_size=2))),
        annotations=draw(st.dictionaries(_text, _text, max_size=2)),
        data=draw(st.sampled_from([None, data])),
        artifact_type=draw(_optional_text),
        platform=draw(st.none() | _platforms),
    )


@given(_descriptors())
def test_printed_descriptors_parse_to_themselves(descriptor: Descriptor) -> None:
    assert Descriptor.from_json(json.loads(json.dumps(descriptor.to_json()))) == descriptor


@given(_descriptors(), st.lists(_descriptors(), max_size=3), st.dictionaries(_text, _text, max_size=2))
def test_built_manifests_parse_to_themselves(
    config: Descriptor, layers: list[Descriptor], annotations: dict[str, str]
) -> None:
    built = build_manifest(config, layers, annotations=annotations, subject=config, artifact_type="a/b")
    again = build_manifest(config, layers, annotations=annotations, subject=config, artifact_type="a/b")
    parsed = parse_manifest(built.raw, mediatype.OCI_MANIFEST)
    assert parsed == built == again
    assert isinstance(parsed, ImageManifest)
    assert (parsed.config, parsed.layers, parsed.subject) == (config, tuple(layers), config)
    assert (dict(parsed.annotations), parsed.artifact_type) == (annotations, "a/b")


@given(st.lists(_descriptors(), max_size=3))
def test_built_indexes_parse_to_themselves(manifests: list[Descriptor]) -> None:
    built = build_index(manifests, media_type=mediatype.DOCKER_LIST)
    parsed = parse_manifest(built.raw, mediatype.DOCKER_LIST)
    assert isinstance(parsed, Index)
    assert parsed.manifests == tuple(manifests)


_names = st.sampled_from(
    [*CHILD, *image(), "manifests", "subject", "annotations", "artifactType", "data", "os"]
)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2**64)
    | _text
    | st.sampled_from([CHILD, LAYER, CONFIG, [LAYER], [CHILD]]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_names, inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(_names, _values), st.sampled_from([None, *mediatype.ACCEPT_MANIFESTS]))
def test_any_document_is_read_or_refused(fields: dict[str, Any], media_type: str | None) -> None:
    try:
        parsed = parse(image(mediaType=None) | fields, media_type)
    except InvalidManifest:
        return
    assert parsed.references()
