"""Image layouts: what others write is read, what is written others read, at any moment."""

import io
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.content.errors import BlobNotFound, Interrupted
from entrepot.content.protocols import ManifestBytes, PutResult
from entrepot.errors import VerificationFailed
from entrepot.layout.directory import ImageLayout
from entrepot.layout.errors import AmbiguousName, InvalidLayout
from entrepot.layout.index import (
    LayoutEntry,
    LayoutIndex,
    build_layout_index,
    parse_document,
    parse_index,
    print_index,
)
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.reference import Reference

REF_NAME = "org.opencontainers.image.ref.name"
FULL_NAME = "io.containerd.image.name"


def descriptor(data: bytes, **annotations: str) -> Descriptor:
    return Descriptor(mediatype.OCI_MANIFEST, Digest.of(data), len(data), annotations=annotations)


def named(data: bytes, name: str, full: str | None = None) -> Descriptor:
    annotations = {REF_NAME: name} | ({FULL_NAME: full} if full else {})
    return descriptor(data, **annotations)


@pytest.fixture
def layout(tmp_path: Path) -> ImageLayout:
    return ImageLayout(tmp_path / "layout", create=True)


def put(layout: ImageLayout, data: bytes) -> Descriptor:
    found = Descriptor(mediatype.OCI_LAYER, Digest.of(data), len(data))
    layout.put_blob(found, io.BytesIO(data))
    return found


def put_image(layout: ImageLayout, layer: bytes, name: str | None) -> ManifestBytes:
    manifest = ManifestBytes.from_manifest(build_manifest(put(layout, b"{}"), [put(layout, layer)]))
    layout.put_manifest(manifest, name)
    return manifest


def test_a_new_layout_is_one(layout: ImageLayout) -> None:
    assert json.loads((layout.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    assert json.loads((layout.root / "index.json").read_bytes())["manifests"] == []
    assert list(ImageLayout(layout.root).list_tags()) == []


@pytest.mark.parametrize("content", [None, b"{}", b"[]", b'{"imageLayoutVersion":"2.0.0"}', b"\xff"])
def test_other_directories_are_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "oci-layout").write_bytes(content)
    with pytest.raises(InvalidLayout):
        ImageLayout(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"[]",
        b'{"schemaVersion":1}',
        b'{"schemaVersion":2,"manifests":[{"digest":"sha256:../../x"}]}',
    ],
)
def test_a_damaged_index_is_refused(layout: ImageLayout, content: bytes) -> None:
    (layout.root / "index.json").write_bytes(content)
    with pytest.raises(InvalidLayout):
        layout.read_index()
    with pytest.raises(InvalidLayout):
        LayoutIndex.of(parse_document(content, trusted=True))


def test_names_of_docker_and_of_the_specification_are_understood() -> None:
    index = LayoutIndex(
        tuple(
            LayoutEntry(one)
            for one in (
                named(b"a", "1", "docker.io/library/bb:1"),
                named(b"b", "1", "docker.io/team/app:1"),
                named(b"c", "v7"),
                named(b"d", "quay.io/x/y:2"),
            )
        )
    )
    found = {
        name: index.find(name)
        for name in ("bb:1", "docker.io/library/bb:1", "team/app:1", "v7", "quay.io/x/y:2", "nope", "app:1")
    }
    digests = {name: entry.descriptor.digest if entry else None for name, entry in found.items()}
    a, b, c, d = (Digest.of(data) for data in (b"a", b"b", b"c", b"d"))
    assert digests == {
        "bb:1": a,
        "docker.io/library/bb:1": a,
        "team/app:1": b,
        "v7": c,
        "quay.io/x/y:2": d,
        "nope": None,
        "app:1": None,
    }
    with pytest.raises(AmbiguousName, match="several images are named 1"):
        index.find("1")
    with pytest.raises(AmbiguousName, match="more than one image"):
        index.find("")
    assert [str(entry.reference()) for entry in index] == [
        "docker.io/library/bb:1",
        "docker.io/team/app:1",
        "docker.io/library/v7:latest",
        "quay.io/x/y:2",
    ]


def test_an_index_for_docker_names_each_tag() -> None:
    target = descriptor(b"x")
    index = build_layout_index([(target, [Reference.parse("bb:1"), Reference.parse("ghcr.io/a/b")])])
    assert [(entry.ref_name, entry.full_name) for entry in index] == [
        ("1", "docker.io/library/bb:1"),
        ("latest", "ghcr.io/a/b:latest"),
    ]
    assert [entry.ref_name for entry in build_layout_index([(target, [])])] == [None]
    assert next(iter(index)).target() == target


def test_fields_nobody_knows_stay(layout: ImageLayout) -> None:
    raw = {"schemaVersion": 2, "manifests": [], "annotations": {"a": "b"}, "x-other": [1]}
    (layout.root / "index.json").write_text(json.dumps(raw))
    put_image(layout, b"layer", "t")
    written = json.loads((layout.root / "index.json").read_bytes())
    assert (written["annotations"], written["x-other"], len(written["manifests"])) == ({"a": "b"}, [1], 1)


def test_an_unnamed_image_is_listed_once_it_has_a_name(layout: ImageLayout) -> None:
    manifest = put_image(layout, b"layer", None)
    assert list(layout.read_index()) == []
    layout.put_manifest(manifest, "a")
    layout.put_manifest(manifest, "b")
    assert list(layout.list_tags()) == ["a", "b"]
    assert layout.get_manifest("") == manifest


def test_a_damaged_manifest_is_not_handed_out(layout: ImageLayout) -> None:
    manifest = put_image(layout, b"layer", "t")
    layout.blob_path(manifest.digest).write_bytes(manifest.raw[:-1] + b" ")
    with pytest.raises(VerificationFailed):
        layout.get_manifest("t")
    with pytest.raises(VerificationFailed):
        layout.get_manifest(manifest.digest)


def test_a_blob_cut_short_counts_as_missing(layout: ImageLayout) -> None:
    blob = put(layout, b"0123456789")
    layout.blob_path(blob.digest).write_bytes(b"01234")
    assert not layout.has_blob(blob)
    put(layout, b"0123456789")
    assert layout.blob_path(blob.digest).read_bytes() == b"0123456789"


LAYER = bytes(range(256)) * 1024
BLOB = Descriptor(mediatype.OCI_LAYER, Digest.of(LAYER), len(LAYER))


class Scripted(io.BytesIO):
    """Does something, once, when its first thousand bytes have been read."""

    def __init__(self, data: bytes, then: Callable[[], object]) -> None:
        super().__init__(data)
        self._then: Callable[[], object] | None = then

    def readinto(self, buffer: object, /) -> int:
        if self._then is None:
            return super().readinto(buffer)  # type: ignore[arg-type]
        if self.tell() == 0:
            return super().readinto(memoryview(buffer)[:1000])  # type: ignore[arg-type]
        then, self._then = self._then, None
        then()
        return self.readinto(buffer)


def fail() -> None:
    raise ConnectionError("gone")


def partials(layout: ImageLayout) -> list[str]:
    return [path.name for path in (layout.root / ".entrepot" / "partial").iterdir()]


def test_k6_two_copies_into_one_layout_at_once_both_succeed(layout: ImageLayout) -> None:
    other = ImageLayout(layout.root)

    def copy_meanwhile() -> None:
        offset = other.blob_offset(BLOB)
        assert other.put_blob(BLOB, io.BytesIO(LAYER[offset:]), offset=offset) is PutResult.STORED

    layout.put_blob(BLOB, Scripted(LAYER, copy_meanwhile))
    assert layout.blob_path(BLOB.digest).read_bytes() == LAYER
    assert partials(layout) == []


def test_k6_a_copy_whose_beginning_another_took_over_is_interrupted_and_leaves_nothing(
    layout: ImageLayout,
) -> None:
    other = ImageLayout(layout.root)
    with pytest.raises(ConnectionError):
        layout.put_blob(BLOB, Scripted(LAYER, fail))
    assert other.blob_offset(BLOB) == 1000

    def too_late() -> None:
        with pytest.raises(Interrupted):
            other.put_blob(BLOB, io.BytesIO(LAYER[1000:]), offset=1000)
        assert other.blob_offset(BLOB) == 0
        with pytest.raises(ConnectionError):  # starting over in a file of its own, which breaks off
            other.put_blob(BLOB, Scripted(LAYER, fail))
        assert len(partials(layout)) == 1

    layout.put_blob(BLOB, Scripted(LAYER[1000:], too_late), offset=1000)
    assert layout.blob_path(BLOB.digest).read_bytes() == LAYER
    assert partials(layout) == []


def test_collecting_leaves_what_is_named(layout: ImageLayout) -> None:
    kept = put_image(layout, b"kept", "t")
    child = put_image(layout, b"child", None)
    index = ManifestBytes.from_manifest(build_index([child.descriptor()]))
    layout.put_manifest(index, "index")
    stray = put(layout, b"stray")
    assert layout.collect() == stray.size
    assert layout.get_manifest("t") == kept
    assert layout.get_manifest(child.digest) == child
    with pytest.raises(BlobNotFound):
        layout.open_blob(stray)
    layout.delete_manifest(child.digest)
    assert layout.get_manifest(child.digest) == child, "an index still needs it"


def test_what_is_one_images_layer_and_anothers_manifest_keeps_what_it_needs(layout: ImageLayout) -> None:
    inner = put_image(layout, b"layer", "inner")
    layer = Descriptor(mediatype.OCI_LAYER, inner.digest, len(inner.raw))
    odd = ManifestBytes.from_manifest(build_manifest(put(layout, b"{}"), [layer]))
    for names in (("inner", "odd"), ("odd", "inner")):
        for name in names:
            layout.put_manifest(odd if name == "odd" else inner, name)
        assert layout.collect() == 0
        for name in names:
            layout.delete_tag(name)


def test_k6_writers_in_many_threads_lose_no_name(layout: ImageLayout) -> None:
    manifest = put_image(layout, b"layer", None)
    threads = [
        threading.Thread(
            target=lambda name=f"t{number:02}": ImageLayout(layout.root).put_manifest(manifest, name)
        )
        for number in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(layout.list_tags()) == [f"t{number:02}" for number in range(12)]
    assert sorted(os.listdir(layout.root)) == [".entrepot", "blobs", "index.json", "oci-layout"]
    assert os.listdir(layout.root / ".entrepot" / "tmp") == []


_names = st.text("abc/:.-é ", min_size=1, max_size=8)


@given(st.lists(st.tuples(st.binary(max_size=2), st.none() | _names, st.none() | _names), max_size=5))
def test_printed_indexes_parse_to_themselves(items: list[tuple[bytes, str | None, str | None]]) -> None:
    index = LayoutIndex()
    for data, name, full in items:
        index = index.with_name(name, descriptor(data), full_name=full)
    again = parse_index(print_index(index))
    assert again.entries == index.entries
    assert print_index(again) == print_index(index)


@given(st.binary(max_size=80))
def test_any_index_is_read_or_refused(raw: bytes) -> None:
    try:
        parse_index(raw)
    except InvalidLayout:
        return
    raise AssertionError("random bytes are no index")
