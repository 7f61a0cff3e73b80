"""The local store: names, IDs, untagged images, garbage, leases, partial downloads."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from entrepot.images.errors import AmbiguousImage, IncompleteImage, NoSuchImage, StoreDamaged
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image, add_index


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


def names(store: ImageStore) -> list[list[str]]:
    return [[tag.familiar() for tag in image.tags] for image in store.list()]


def blob_count(store: ImageStore) -> int:
    return sum(1 for _ in store.blobs.all())


def test_a_new_store_is_empty_and_reading_makes_nothing(store: ImageStore) -> None:
    assert list(store.list()) == []
    assert not store.root.exists()


def test_it_is_an_image_layout(store: ImageStore) -> None:
    image = add_image(store, "bb:1")
    assert json.loads((store.root / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads((store.root / "index.json").read_bytes())["manifests"]
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "docker.io/library/bb:1"
    assert entry["digest"] == str(image.target.digest)
    assert entry["mediaType"] == mediatype.OCI_MANIFEST


def test_image_id_is_the_digest_of_the_config(store: ImageStore) -> None:
    image = add_image(store, "bb:1")
    assert image.id == Digest.of(store.config(image).raw)


def test_newest_image_is_listed_first(store: ImageStore) -> None:
    add_image(store, "old", layers=("a",), created="2023-01-01T00:00:00Z")
    add_image(store, "new", layers=("b",), created="2024-01-01T00:00:00.123456789Z")
    add_image(store, "middle", layers=("c",), created="2023-06-01T02:00:00+02:00")
    assert names(store) == [["new:latest"], ["middle:latest"], ["old:latest"]]


def test_size_is_that_of_the_unpacked_layers(store: ImageStore) -> None:
    image = add_image(store, "bb", layers=("a", "b"))
    assert image.size == 2 * 10240
    assert store.layer_sizes(image) == (10240, 10240)


@pytest.mark.parametrize("name", ["bb:1", "docker.io/library/bb:1", "index.docker.io/library/bb:1"])
def test_image_is_found_by_any_spelling_of_its_name(store: ImageStore, name: str) -> None:
    add_image(store, "bb:1")
    assert store.resolve(name).tags[0].familiar() == "bb:1"


def test_image_is_found_by_id_prefix_and_manifest_digest(store: ImageStore) -> None:
    image = add_image(store, "bb:1")
    for text in (
        image.id.hex,
        str(image.id),
        image.id.short,
        f"sha256:{image.id.hex[:8]}",
        str(image.target.digest),
    ):
        assert store.resolve(text).id == image.id


def test_a_name_wins_over_an_id_prefix(store: ImageStore) -> None:
    other = add_image(store, "x", layers=("a",))
    named = add_image(store, other.id.hex[:4], layers=("b",))
    assert store.resolve(other.id.hex[:4]).id == named.id


def test_ambiguous_prefix_names_the_candidates(store: ImageStore) -> None:
    first: dict[str, str] = {}
    for number in range(40):
        image = add_image(store, f"i:{number}", layers=(str(number),))
        if image.id.hex[0] in first:
            with pytest.raises(AmbiguousImage, match=image.id.short):
                store.resolve(image.id.hex[0])
            return
        first[image.id.hex[0]] = image.id.short
    pytest.fail("sixteen hex digits, forty images")


def test_unknown_name_is_said_with_its_tag(store: ImageStore) -> None:
    with pytest.raises(NoSuchImage, match=r"^No such image: nope:latest$"):
        store.resolve("nope")


def test_moving_a_tag_leaves_the_old_image_untagged(store: ImageStore) -> None:
    old = add_image(store, "bb:1", layers=("old",))
    new = add_image(store, "bb:1", layers=("new",))
    assert store.resolve("bb:1").id == new.id
    dangling = store.resolve(old.id.hex)
    assert dangling.is_dangling
    store.tag(dangling, Reference.parse("again"))
    assert not store.resolve(old.id.hex).is_dangling
    assert len(store.list()) == 2


def test_removing_the_last_name_keeps_the_image_untagged(store: ImageStore) -> None:
    image = add_image(store, "a", "b")
    store.remove_names([Reference.parse("a:latest")])
    assert names(store) == [["b:latest"]]
    store.remove_names([Reference.parse("b:latest")])
    assert names(store) == [[]]
    assert store.resolve(image.id.hex).is_dangling


def test_digest_names_are_repo_digests(store: ImageStore) -> None:
    image = add_image(store, "bb:1")
    by_digest = Reference.parse("bb").with_digest(image.target.digest)
    store.add([(image.target, [by_digest])])
    assert store.resolve("bb:1").repo_digests == (by_digest,)
    assert store.resolve(f"bb@{image.target.digest}").id == image.id
    assert store.find(by_digest) is not None


def test_collect_removes_what_no_image_needs(store: ImageStore) -> None:
    add_image(store, "keep", layers=("shared", "own"))
    gone = add_image(store, "gone", layers=("shared", "other"))
    before = blob_count(store)
    store.remove_image(gone)
    freed = store.collect()
    assert len(freed.blobs) == 3  # manifest, config and the layer of its own
    assert freed.bytes > 0
    assert blob_count(store) == before - 3
    assert store.layer_sizes(store.resolve("keep"))


def test_collect_keeps_what_a_lease_holds(store: ImageStore) -> None:
    add_image(store, "bb")
    digest = store.blobs.put_bytes(b"not listed yet")
    with store.lease() as lease:
        lease.add([digest])
        assert digest not in store.collect().blobs
    assert store.collect().blobs == (digest,)


def test_lease_of_a_dead_process_holds_nothing(store: ImageStore) -> None:
    add_image(store, "bb")
    digest = store.blobs.put_bytes(b"left by a killed process")
    program = (
        "import os, sys\n"
        "from entrepot.images.store import ImageStore; from entrepot.oci.digest import Digest\n"
        "lease = ImageStore(sys.argv[1]).lease(); lease.add([Digest.parse(sys.argv[2])])\n"
        "os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(store.root), str(digest)], check=False, timeout=60)
    assert len(list(store.paths.leases.iterdir())) == 1
    assert store.collect().blobs == (digest,)
    assert list(store.paths.leases.iterdir()) == []


def test_index_and_its_images_stay_together(store: ImageStore) -> None:
    target = add_index(store, "multi", "arm64", "amd64", "s390x")
    shown = store.resolve("multi")
    assert shown.target.digest == target.digest
    assert shown.manifest.digest != target.digest
    store.remove_names([Reference.parse(f"part:{one}") for one in ("arm64", "amd64", "s390x")])
    store.collect()
    for image in store.list():
        store.manifest(image)


def test_an_index_without_an_image_is_listed_and_can_be_removed(store: ImageStore) -> None:
    store.prepare()
    inner = build_index([])
    outer = build_index([inner.descriptor()])
    for each in (inner, outer):
        store.blobs.put_bytes(each.raw)
    store.add([(outer.descriptor(), [Reference.parse("indexes:1")])])
    assert names(store) == [["indexes:1"]]
    assert store.resolve("indexes:1").id == store.resolve(outer.digest().hex[:12]).id == outer.digest()
    store.remove_image(store.resolve("indexes:1"))
    assert names(store) == []


def test_incomplete_image_is_not_listed(store: ImageStore) -> None:
    store.prepare()
    raw = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
    config = store.blobs.put_bytes(raw)
    missing = Descriptor(mediatype.OCI_LAYER, Digest.of(b"nowhere"), 7)
    manifest = build_manifest(Descriptor(mediatype.OCI_CONFIG, config, len(raw)), [missing])
    store.blobs.put_bytes(manifest.raw)
    with pytest.raises(IncompleteImage, match=str(missing.digest)):
        store.add([(manifest.descriptor(), [Reference.parse("bad:1")])])
    assert list(store.list()) == []


def test_damaged_index_is_told_and_nothing_is_lost(store: ImageStore) -> None:
    add_image(store, "bb")
    before = blob_count(store)
    store.paths.index.write_bytes(b"{")
    with pytest.raises(StoreDamaged):
        store.list()
    with pytest.raises(StoreDamaged):
        store.collect()
    assert blob_count(store) == before


def test_facts_can_be_thrown_away(store: ImageStore) -> None:
    add_image(store, "bb", layers=("a", "b"))
    expected = store.list()
    store.paths.facts.unlink()
    assert store.list() == expected
    store.paths.facts.write_bytes(b"garbage")
    assert store.list() == expected


def test_parents_are_remembered_and_forgotten(store: ImageStore) -> None:
    base = add_image(store, "base", layers=("a",))
    child = add_image(store, "child", layers=("a", "b"), parent=base.id)
    assert store.resolve("child").parent == base.id
    store.remove_image(child)
    store.collect()
    assert json.loads(store.paths.parents.read_bytes()) == {}


def test_many_threads_and_stores_tag_at_once(store: ImageStore) -> None:
    image = add_image(store, "bb:first")

    def work(number: int) -> None:
        mine = ImageStore(store.root)
        for count in range(5):
            mine.tag(image, Reference.parse(f"bb:{number}-{count}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(store.resolve("bb:first").tags) == 31


def test_durable_store_works_the_same(tmp_path: Path) -> None:
    durable = ImageStore(tmp_path / "store", durable=True)
    add_image(durable, "bb")
    assert [image.tags[0].familiar() for image in durable.list()] == ["bb:latest"]


def test_store_that_cannot_be_written_can_be_read(store: ImageStore) -> None:
    add_image(store, "bb")
    store.paths.facts.unlink()
    if os.geteuid() == 0:
        store.paths.tmp.rmdir()  # root may write anywhere; a missing directory stops it too
    else:
        store.paths.own.chmod(0o500)
    assert names(store) == [["bb:latest"]]
