"""Unpacked layers: once, shared, verified, collected."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from entrepot.errors import InvalidInput
from entrepot.images.image import Image
from entrepot.images.snapshots import Snapshots, snapshot_name
from entrepot.images.store import ImageStore
from entrepot.layers.errors import DiffIdMismatch, InvalidLayer
from entrepot.layers.ownership import PLAIN
from entrepot.layers.union import Union
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import ImageConfig, chain_ids
from entrepot.oci.reference import Reference
from tests.support.tarballs import archive, directory, file, hard_link, symlink

BASE = archive(
    directory(b"usr/lib", 0o711), file(b"usr/lib/a", b"a"), symlink(b"lib", b"usr/lib"), file(b"old", b"o")
)
UPPER = archive(file(b"lib/b", b"b"), hard_link(b"copy", b"old"), file(b".wh.old"))
TOP = archive(file(b"new", b"n"))


def add_image(store: ImageStore, name: str, *layers: bytes, diff_ids: list[Digest] | None = None) -> Image:
    store.prepare()
    descriptors = []
    for layer in layers:
        packed = gzip.compress(layer, mtime=0)
        descriptors.append(Descriptor(mediatype.OCI_LAYER_GZIP, store.blobs.put_bytes(packed), len(packed)))
    config = ImageConfig.build(
        {
            "os": "linux",
            "architecture": "amd64",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(d) for d in diff_ids or map(Digest.of, layers)]},
        }
    )
    return store.create_image(config, descriptors, names=[Reference.parse(name).with_default_tag()])


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def content(snapshots: Snapshots, image: Image) -> dict[bytes, bytes]:
    """Every file of the merged layers."""
    with snapshots.in_use(), Union(snapshots.ensure(image)) as tree:
        return {
            visit.entry.name: b"".join(visit.data())
            for visit in tree.walk()
            if visit.entry.kind.name == "FILE"
        }


@pytest.mark.parametrize("plain", [False, True], ids=["own-rights", "plain-user"])
def test_layers_are_fitted_on_those_below(store: ImageStore, plain: bool) -> None:
    snapshots = Snapshots(store, privileges=PLAIN if plain else None)
    image = add_image(store, "a:1", BASE, UPPER, TOP)
    assert content(snapshots, image) == {b"usr/lib/a": b"a", b"usr/lib/b": b"b", b"copy": b"o", b"new": b"n"}
    with Union(snapshots.paths(image.diff_ids)) as tree:
        found = tree.find((b"usr", b"lib"))
    assert found is not None
    assert found.mode == 0o711


def test_images_share_what_lies_below(store: ImageStore) -> None:
    snapshots = Snapshots(store)
    first, second = add_image(store, "a:1", BASE, TOP), add_image(store, "b:1", BASE, UPPER)
    content(snapshots, first)
    base = snapshots.path(chain_ids(first.diff_ids)[0]).stat().st_ino
    content(snapshots, second)
    assert snapshots.path(chain_ids(second.diff_ids)[0]).stat().st_ino == base
    assert len(list(snapshots.root.glob("*.json"))) == 3


def test_a_layer_that_is_not_what_the_image_says_leaves_nothing(store: ImageStore) -> None:
    image = add_image(store, "a:1", BASE, TOP, diff_ids=[Digest.of(BASE), Digest.of(b"other")])
    snapshots = Snapshots(store)
    with snapshots.in_use(), pytest.raises(DiffIdMismatch):
        snapshots.ensure(image)
    assert [path.name for path in snapshots.root.iterdir() if path.is_dir()] == [
        snapshot_name(Digest.of(BASE))
    ]
    assert store.blobs.has(
        store.manifest(image).layers[1].digest
    )  # it is whole: fetching it again changes nothing


@pytest.mark.parametrize("at", [20, -6], ids=["in the tar", "in the checksum"])
def test_a_layer_that_was_damaged_on_disk_is_removed_to_be_fetched_again(store: ImageStore, at: int) -> None:
    image = add_image(store, "a:1", BASE, TOP)
    layer = store.manifest(image).layers[0].digest
    data = bytearray(store.blobs.path(layer).read_bytes())
    data[at] ^= 0xFF
    store.blobs.path(layer).write_bytes(data)
    snapshots = Snapshots(store)
    with snapshots.in_use(), pytest.raises(DiffIdMismatch, match="damaged on this disk and has been removed"):
        snapshots.ensure(image)
    assert not store.blobs.has(layer)
    store.blobs.put_bytes(gzip.compress(BASE, mtime=0))
    assert content(snapshots, image)[b"usr/lib/a"] == b"a"


def test_a_broken_layer_below_stops_those_above(store: ImageStore) -> None:
    image = add_image(store, "a:1", archive(file(b"../x")), TOP, UPPER)
    snapshots = Snapshots(store)
    with snapshots.in_use(), pytest.raises(InvalidLayer):
        snapshots.ensure(image)
    assert [path.name for path in snapshots.root.iterdir() if path.is_dir()] == []


def test_layers_and_diff_ids_have_to_be_as_many(store: ImageStore) -> None:
    image = add_image(store, "a:1", BASE, TOP, diff_ids=[Digest.of(BASE)])
    snapshots = Snapshots(store)
    with snapshots.in_use(), pytest.raises(InvalidInput, match="2 layers but its config names 1"):
        snapshots.ensure(image)


def test_an_unpack_that_was_cut_short_is_begun_again(store: ImageStore) -> None:
    image = add_image(store, "a:1", BASE)
    snapshots = Snapshots(store)
    half = snapshots.root / f".new-{snapshot_name(Digest.of(BASE))}"
    (half / "usr/left").mkdir(parents=True)
    assert set(content(snapshots, image)) == {b"usr/lib/a", b"old"}
    assert not (snapshots.path(Digest.of(BASE)) / "usr/left").exists()
    assert not half.exists()


def test_what_no_image_needs_is_collected_when_nobody_is_at_work(store: ImageStore) -> None:
    first, second = add_image(store, "a:1", BASE, TOP), add_image(store, "b:1", BASE, UPPER)
    snapshots = Snapshots(store)
    content(snapshots, first)
    content(snapshots, second)
    needed = set(chain_ids(first.diff_ids))
    with snapshots.in_use():
        assert snapshots.collect(lambda: needed) == 0
    assert snapshots.collect(lambda: needed) == 1
    assert set(content(snapshots, first)) == {b"usr/lib/a", b"old", b"new"}
    assert [path.name for path in snapshots.root.iterdir() if path.name.startswith(".")] == []


def test_the_size_of_an_image_stays_when_it_is_unpacked(store: ImageStore) -> None:
    """`images` would show another one after the first `run`."""
    image = add_image(store, "app:1", BASE, UPPER)
    before = store.resolve("app:1").size
    snapshots = Snapshots(store)
    with snapshots.in_use():
        snapshots.ensure(image)
    assert store.resolve("app:1").size == before > 0
