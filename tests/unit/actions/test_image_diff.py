"""`image diff`: what tells two images apart."""

import gzip

from entrepot.actions.image_diff import diff_images
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.mediatype import OCI_LAYER
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image


def test_files_layers_and_settings_are_compared(store: ImageStore) -> None:
    add_image(store, "app:1", layers=("base", "one"), Cmd=["/a"])
    add_image(store, "app:2", layers=("base", "two"), Cmd=["/b"])
    found = diff_images("app:1", "app:2", store=store)
    assert [(each.kind, each.path, each.size_before, each.size_after) for each in found.files] == [
        ("D", "/one.txt", 3, 0), ("A", "/two.txt", 0, 3),
    ]  # fmt: skip
    assert [layer.same for layer in found.layers] == [True, False]
    assert ["/a"] in [before for before, _ in found.config.values()]


def test_an_image_is_like_itself(store: ImageStore) -> None:
    add_image(store, "app:1")
    found = diff_images("app:1", "app:1", store=store)
    assert (found.files, found.config) == ((), {})


def test_a_layer_both_have_shows_one_size(store: ImageStore) -> None:
    """One received, of which the tar's length is known; one made here, of which files were counted."""
    received = add_image(store, "app:1", layers=("base",))
    with store.lease():
        plain = plain_layer(store, received)
        store.record_layer_size(plain.digest, 4)
        store.create_image(store.config(received), [plain], names=[Reference.parse("app:2")])
    assert store.layer_sizes(store.resolve("app:2")) == (4,)
    (layer,) = diff_images("app:1", "app:2", store=store).layers
    assert layer.same
    assert layer.size_before == layer.size_after > 0


def plain_layer(store: ImageStore, image: Image) -> Descriptor:
    """An image's only layer once more, not compressed."""
    (packed,) = store.manifest(image).layers
    with store.open_layer(packed) as file:
        data = gzip.decompress(file.read())
    return Descriptor(OCI_LAYER, store.blobs.put_bytes(data), len(data))
