"""What every place for content promises, whatever it is made of."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.content.graph import walk
from entrepot.content.protocols import ManifestBytes, PutResult
from entrepot.errors import EntrepotError, NotFound, VerificationFailed
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.platform import Platform
from tests.contract.content.places import PLACES, Place

LAYER = bytes(range(256)) * 1200
CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with PLACES[request.param](tmp_path) as opened:
        yield opened


def descriptor(data: bytes, media_type: str = mediatype.OCI_LAYER, algorithm: str = "sha256") -> Descriptor:
    return Descriptor(media_type, Digest.of(data, algorithm), len(data))


def put(place: Place, data: bytes, media_type: str = mediatype.OCI_LAYER) -> Descriptor:
    described = descriptor(data, media_type)
    place.sink.put_blob(described, io.BytesIO(data))
    return described


def image(place: Place, *layers: bytes, **fields: object) -> ManifestBytes:
    config = put(place, CONFIG, mediatype.OCI_CONFIG)
    built = build_manifest(config, [put(place, layer) for layer in layers], **fields)  # type: ignore[arg-type]
    return ManifestBytes.from_manifest(built)


class Cut(io.BytesIO):
    """A stream whose connection breaks after `good` bytes."""

    def __init__(self, data: bytes, good: int) -> None:
        super().__init__(data[:good])

    def read(self, size: int | None = -1, /) -> bytes:
        if not (data := super().read(size)):
            raise ConnectionError("the line is dead")
        return data

    def readinto(self, buffer: object, /) -> int:
        if not (count := super().readinto(buffer)):  # type: ignore[arg-type]
            raise ConnectionError("the line is dead")
        return count


def test_a_blob_comes_back_byte_for_byte(place: Place) -> None:
    steps: list[int] = []
    result = place.sink.put_blob(descriptor(LAYER), io.BytesIO(LAYER), progress=steps.append)
    assert result is PutResult.STORED
    assert sum(steps) == len(LAYER)
    assert place.sink.has_blob(descriptor(LAYER))
    manifest = image(place, LAYER)
    place.sink.put_manifest(manifest, "t")
    with place.source.open_blob(descriptor(LAYER)) as stream:
        assert stream.read() == LAYER


def test_a_blob_is_read_from_any_offset(place: Place) -> None:
    place.sink.put_manifest(image(place, LAYER), "t")
    for offset in (1, len(LAYER) - 1, len(LAYER)):
        with place.source.open_blob(descriptor(LAYER), offset=offset) as stream:
            assert stream.read() == LAYER[offset:]
    buffer = bytearray(10)
    with place.source.open_blob(descriptor(LAYER), offset=5) as stream:
        count = stream.readinto(buffer)
        assert buffer[:count] == LAYER[5 : 5 + count]
        assert count > 0


def test_an_empty_blob_is_a_blob(place: Place) -> None:
    place.sink.put_manifest(image(place, b""), "t")
    with place.source.open_blob(descriptor(b"")) as stream:
        assert stream.read() == b""


def test_a_blob_that_is_there_is_not_taken_again(place: Place) -> None:
    put(place, LAYER)
    assert place.sink.put_blob(descriptor(LAYER), io.BytesIO(LAYER)) is PutResult.EXISTED


@pytest.mark.parametrize(
    "sent",
    [LAYER[:-1] + b"x", LAYER[:-1], LAYER + b"x", b""],
    ids=["other bytes", "too short", "too long", "nothing"],
)
def test_k4_a_blob_that_is_not_what_was_promised_is_not_kept(place: Place, sent: bytes) -> None:
    with pytest.raises(VerificationFailed):
        place.sink.put_blob(descriptor(LAYER), io.BytesIO(sent))
    assert not place.sink.has_blob(descriptor(LAYER))
    assert place.sink.blob_offset(descriptor(LAYER)) == 0
    assert place.sink.put_blob(descriptor(LAYER), io.BytesIO(LAYER)) is PutResult.STORED


def test_an_interrupted_put_goes_on_where_it_stopped(place: Place) -> None:
    if not place.resumes:
        pytest.skip("this place starts over")
    described = descriptor(LAYER)
    with pytest.raises((ConnectionError, EntrepotError)):
        place.sink.put_blob(described, Cut(LAYER, 200_000))
    assert not place.sink.has_blob(described)
    offset = place.sink.blob_offset(described)
    assert 0 < offset <= 200_000
    assert place.sink.put_blob(described, io.BytesIO(LAYER[offset:]), offset=offset) is PutResult.STORED
    place.sink.put_manifest(image(place, LAYER), "t")
    with place.source.open_blob(described) as stream:
        assert stream.read() == LAYER


def test_an_interrupted_put_may_start_over(place: Place) -> None:
    described = descriptor(LAYER)
    with pytest.raises((ConnectionError, EntrepotError)):
        place.sink.put_blob(described, Cut(LAYER, 200_000))
    assert place.sink.put_blob(described, io.BytesIO(LAYER)) is PutResult.STORED


def test_a_manifest_comes_back_by_tag_and_digest(place: Place) -> None:
    manifest = image(place, LAYER, annotations={"a": "é"})
    place.sink.put_manifest(manifest, "v1")
    assert place.source.get_manifest("v1") == manifest
    assert place.source.get_manifest(manifest.digest) == manifest
    assert place.sink.has_manifest(manifest.digest)


def test_odd_bytes_of_a_manifest_stay(place: Place) -> None:
    built = image(place, LAYER)
    manifest = ManifestBytes.of(b"\n  " + built.raw.replace(b",", b" ,\t") + b"\n", built.media_type)
    place.sink.put_manifest(manifest, "odd")
    assert place.source.get_manifest("odd").raw == manifest.raw


def test_a_tag_moves(place: Place) -> None:
    first, second = image(place, LAYER), image(place, LAYER, b"more")
    place.sink.put_manifest(first, "t")
    place.sink.put_manifest(second, "t")
    assert place.source.get_manifest("t") == second


def test_a_manifest_may_come_without_a_tag(place: Place) -> None:
    if not place.keeps_untagged:
        pytest.skip("this place knows tags only")
    manifest = image(place, LAYER)
    place.sink.put_manifest(manifest, None)
    assert place.source.get_manifest(manifest.digest) == manifest


def test_an_index_comes_back_with_its_images(place: Place) -> None:
    images = [image(place, LAYER), image(place, b"other")]
    for each in images:
        place.sink.put_manifest(each, None)
    platforms = [Platform("linux", "amd64"), Platform("linux", "arm64")]
    entries = [
        Descriptor(each.media_type, each.digest, len(each.raw), platform=platform)
        for each, platform in zip(images, platforms, strict=True)
    ]
    index = ManifestBytes.from_manifest(build_index(entries))
    place.sink.put_manifest(index, "all")
    found = [node.manifest for node in walk(place.source, "all")]
    assert found == [*images, index]


def test_m4_a_manifest_without_its_content_is_refused(place: Place) -> None:
    if not place.checks_graph:
        pytest.skip("this place takes manifests in any order")
    config = put(place, CONFIG, mediatype.OCI_CONFIG)
    manifest = ManifestBytes.from_manifest(build_manifest(config, [descriptor(b"never sent")]))
    with pytest.raises(EntrepotError):
        place.sink.put_manifest(manifest, "t")
    with pytest.raises(NotFound):
        place.source.get_manifest("t")


def test_a_manifest_with_another_digest_is_refused(place: Place) -> None:
    manifest = image(place, LAYER)
    lie = ManifestBytes(manifest.raw + b" ", manifest.media_type, manifest.digest)
    with pytest.raises(EntrepotError):
        place.sink.put_manifest(lie, "t")
    assert not place.sink.has_manifest(manifest.digest)


def test_what_is_not_there_is_not_found(place: Place) -> None:
    nowhere = descriptor(b"never sent")
    with pytest.raises(NotFound):
        place.source.get_manifest("missing")
    with pytest.raises(NotFound):
        place.source.get_manifest(nowhere.digest)
    with pytest.raises(NotFound):
        place.source.open_blob(nowhere).read()
    assert not place.sink.has_blob(nowhere)
    assert not place.sink.has_manifest(nowhere.digest)
    assert place.sink.blob_offset(nowhere) == 0
    assert not place.sink.mount_blob(nowhere, "elsewhere/app")


def test_tags_are_listed_in_byte_order_and_deleted(place: Place) -> None:
    if place.tags is None:
        pytest.skip("this place has no tag operations")
    manifest = image(place, LAYER)
    for tag in ("b", "a", "B", "a.1"):
        place.sink.put_manifest(manifest, tag)
    assert list(place.tags.list_tags()) == ["B", "a", "a.1", "b"]
    place.tags.delete_tag("b")
    assert list(place.tags.list_tags()) == ["B", "a", "a.1"]
    assert place.source.get_manifest("a") == manifest
    with pytest.raises(NotFound):
        place.tags.delete_tag("b")
    with pytest.raises(NotFound):
        place.source.get_manifest("b")
    place.tags.delete_manifest(manifest.digest)
    assert list(place.tags.list_tags()) == []
    with pytest.raises(NotFound):
        place.tags.delete_manifest(manifest.digest)


def test_referrers_are_found_by_subject_and_type(place: Place) -> None:
    if place.referrers is None:
        pytest.skip("this place lists no referrers")
    subject = image(place, LAYER)
    place.sink.put_manifest(subject, "t")
    fields = {"subject": subject.descriptor(), "annotations": {"k": "v"}}
    signature = image(place, b"s", artifact_type="application/x", **fields)
    place.sink.put_manifest(signature, None)
    (found,) = place.referrers.list_referrers(subject.digest)
    assert (found.digest, found.artifact_type) == (signature.digest, "application/x")
    assert dict(found.annotations) == {"k": "v"}
    assert len(place.referrers.list_referrers(subject.digest, "application/x")) == 1
    assert place.referrers.list_referrers(subject.digest, "application/y") == []
    assert place.referrers.list_referrers(signature.digest) == []
