"""Plain layers are compressed before they are pushed, once, and only where no registry has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from entrepot.actions.compress import with_compressed_layers
from entrepot.actions.events import LayerCompressing
from entrepot.content.verify import DigestMismatch
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_manifest
from entrepot.oci.reference import Reference
from tests.support.images import layer_tar
from tests.unit.images.makers import add_index, add_layer, config_of

PLAIN = layer_tar({"a": b"a" * 100_000})
OTHER = layer_tar({"b": b"b"})


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "store")
    made.prepare()
    return made


def loaded(store: ImageStore, *names: str, media_type: str = mediatype.OCI_MANIFEST) -> Image:
    """An image as docker's archives bring it: one plain layer, and one that is compressed already."""
    docker = media_type == mediatype.DOCKER_MANIFEST
    config = config_of([PLAIN, OTHER])
    digest = store.blobs.put_bytes(config.raw)
    plain = Descriptor(
        mediatype.DOCKER_LAYER if docker else mediatype.OCI_LAYER, store.blobs.put_bytes(PLAIN), len(PLAIN)
    )
    kind = mediatype.DOCKER_CONFIG if docker else mediatype.OCI_CONFIG
    manifest = build_manifest(
        Descriptor(kind, digest, len(config.raw)),
        [plain, add_layer(store, OTHER)],
        media_type=media_type,
        annotations={"kept": "yes"},
    )
    store.blobs.put_bytes(manifest.raw)
    store.add([(manifest.descriptor(), [Reference.parse(name) for name in names])])
    return store.resolve(names[0])


@pytest.mark.parametrize("media_type", [mediatype.OCI_MANIFEST, mediatype.DOCKER_MANIFEST])
def test_every_tag_points_to_the_smaller_manifest(store: ImageStore, media_type: str) -> None:
    image = loaded(store, "app:1", "app:2", media_type=media_type)
    seen: list[object] = []
    smaller = with_compressed_layers(store, image, on_event=seen.append)
    assert smaller.id == image.id
    assert {store.resolve(name).target.digest for name in ("app:1", "app:2")} == {smaller.target.digest}
    manifest = store.manifest(smaller)
    assert manifest.media_type == media_type
    assert manifest.annotations == {"kept": "yes"}
    assert all(layer.media_type.endswith("gzip") for layer in manifest.layers)
    assert manifest.layers[0].size < len(PLAIN)
    assert manifest.layers[1] == store.manifest(image).layers[1]
    assert smaller.size == image.size
    assert isinstance(seen[-1], LayerCompressing)
    assert seen[-1].done == len(PLAIN)
    store.collect()
    assert not store.blobs.has(Digest.of(PLAIN))
    assert store.blobs.has(manifest.layers[0].digest)


def test_a_second_time_and_a_second_load_give_the_same_digest(store: ImageStore) -> None:
    first = with_compressed_layers(store, loaded(store, "app:1"))
    assert with_compressed_layers(store, store.resolve("app:1")).target == first.target
    known = Reference.parse(f"r.example/app@{first.target.digest}")
    store.add([(first.target, [known])])
    assert with_compressed_layers(store, loaded(store, "app:1")).target == first.target


def test_what_a_registry_has_stays_as_it_is(store: ImageStore) -> None:
    image = loaded(store, "app:1")
    store.add([(image.target, [Reference.parse(f"r.example/app@{image.target.digest}")])])
    assert with_compressed_layers(store, store.resolve("app:1")).target == image.target
    add_index(store, "multi:1", "amd64", "arm64")
    index = store.resolve("multi:1")
    assert with_compressed_layers(store, index) is index


def test_bytes_that_are_compressed_under_a_plain_name_stay(store: ImageStore) -> None:
    config = config_of([PLAIN])
    digest = store.blobs.put_bytes(config.raw)
    misnamed = Descriptor(mediatype.OCI_LAYER, add_layer(store, PLAIN).digest, 1)
    manifest = build_manifest(Descriptor(mediatype.OCI_CONFIG, digest, len(config.raw)), [misnamed])
    store.blobs.put_bytes(manifest.raw)
    store.add([(manifest.descriptor(), [Reference.parse("app:1")])])
    image = store.resolve("app:1")
    assert with_compressed_layers(store, image) is image


def test_a_damaged_layer_is_named_and_nothing_changes(store: ImageStore) -> None:
    image = loaded(store, "app:1")
    path = store.paths.blob(Digest.of(PLAIN))
    path.chmod(0o644)
    path.write_bytes(b"x" + PLAIN[1:])
    with pytest.raises(DigestMismatch, match=str(Digest.of(PLAIN))):
        with_compressed_layers(store, image)
    assert store.resolve("app:1").target == image.target
    assert not any(store.paths.tmp.iterdir())
