"""M5: indexes that share their children lead to an image in more ways than could be gone; every place
reads each manifest once."""

import io
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from entrepot.actions.push import _Push
from entrepot.actions.referrers import copy_referrers
from entrepot.archive.errors import InvalidArchive
from entrepot.archive.reading import open_archive
from entrepot.archive.tarfile import TarArchive
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.images.facts import Facts
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.reference import Reference
from entrepot.transfer.reading import read_plan
from tests.unit.archive.builders import BASE, Content, config_of, table, tar

WIDTH, DEPTH = 3, 8
MANIFESTS = 1 + WIDTH * (DEPTH - 1) + 1
"""The image, indexes over all of the level below, the top; 3 ** 7 ways lead from it to the image."""

CONFIG = config_of(BASE)


def put_index(store: MemoryStore, note: str, *children: Descriptor) -> Descriptor:
    index = build_index(children, annotations={"note": note})
    store.put_manifest(ManifestBytes.from_manifest(index), None)
    return index.descriptor()


def put_shared(store: MemoryStore) -> Descriptor:
    image = put_image(store)
    level = [image]
    for depth in range(1, DEPTH):
        level = [put_index(store, f"{depth} {number}", *level) for number in range(WIDTH)]
    return put_index(store, "top", *level, image)


def put_image(store: MemoryStore) -> Descriptor:
    config = store.add_blob(CONFIG, mediatype.OCI_CONFIG)
    manifest = build_manifest(config, [store.add_blob(BASE, mediatype.OCI_LAYER)])
    store.put_manifest(ManifestBytes.from_manifest(manifest), None)
    return manifest.descriptor()


def archived(content: MemoryStore, *targets: Descriptor) -> bytes:
    """As docker saves: index.json and manifest.json."""
    blobs = content.blobs | {digest: manifest.raw for digest, manifest in content.manifests.items()}
    paths: dict[str, Content] = {f"blobs/sha256/{digest.hex}": data for digest, data in blobs.items()}
    listed = [target.to_json() for target in targets]
    layer = f"blobs/sha256/{Digest.of(BASE).hex}"
    return tar(
        {
            "oci-layout": b'{"imageLayoutVersion":"1.0.0"}',
            "index.json": json.dumps({"schemaVersion": 2, "manifests": listed}).encode(),
            "manifest.json": table(f"blobs/sha256/{Digest.of(CONFIG).hex}", [layer], ["a:1"]),
            **paths,
        }
    )


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[Digest]:
    """How often each manifest of a store was read."""
    counted: Counter[Digest] = Counter()
    real = ImageStore.get_manifest

    def get_manifest(self: ImageStore, digest: Digest, media_type: str | None = None) -> ManifestBytes:
        counted[digest] += 1
        return real(self, digest, media_type)

    monkeypatch.setattr(ImageStore, "get_manifest", get_manifest)
    return counted


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    store = ImageStore(tmp_path / "store")
    store.prepare()
    return store


def add_shared(store: ImageStore) -> None:
    content = MemoryStore()
    top = put_shared(content)
    for data in (*content.blobs.values(), *(manifest.raw for manifest in content.manifests.values())):
        store.blobs.put_bytes(data)
    store.add([(top, [Reference.parse("shared:1")])])


def test_m5_an_archive(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: Counter[str] = Counter()
    real = TarArchive.read

    def read(self: TarArchive, name: str, limit: int) -> bytes | None:
        counted[name] += 1
        return real(self, name, limit)

    monkeypatch.setattr(TarArchive, "read", read)
    content = MemoryStore()
    with open_archive(io.BytesIO(archived(content, put_shared(content)))) as archive:
        assert len(archive.images) == 1
    assert max(counted.values()) <= 4  # by several questions, not by several ways
    assert counted.total() <= 3 * MANIFESTS


def test_m5_an_archive_is_no_deeper_by_what_it_lists_besides() -> None:
    content = MemoryStore()
    levels = [put_image(content)]
    for depth in range(9):
        levels.append(put_index(content, str(depth), levels[-1]))
    with open_archive(io.BytesIO(archived(content, *levels[1:9]))) as archive:
        assert len(archive.images) == 8
    with pytest.raises(InvalidArchive, match="nested too deep"):
        open_archive(io.BytesIO(archived(content, *levels[1:])))


def test_m5_listing_in_a_store(store: ImageStore, reads: Counter[Digest]) -> None:
    add_shared(store)
    assert (len(reads), set(reads.values())) == (MANIFESTS, {1})


def test_m5_collecting_a_store(
    store: ImageStore, reads: Counter[Digest], monkeypatch: pytest.MonkeyPatch
) -> None:
    add_shared(store)
    looked_up: Counter[str] = Counter()

    class Counted(dict[str, Any]):
        def __getitem__(self, key: str, /) -> Any:
            looked_up[key] += 1
            return super().__getitem__(key)

        def get(self, key: str, default: Any = None, /) -> Any:
            looked_up[key] += 1
            return super().get(key, default)

    facts = store._read_facts()
    monkeypatch.setattr(store, "_read_facts", lambda: Facts(Counted(facts.manifests), facts.sizes))
    assert store.collect().blobs == ()
    assert (len(looked_up), set(looked_up.values())) == (MANIFESTS, {1})
    reads.clear()
    monkeypatch.setattr(store, "_read_facts", Facts)  # lost
    assert store.collect().blobs == ()
    assert (len(reads), set(reads.values())) == (MANIFESTS, {1})


def test_m5_what_is_one_images_layer_and_anothers_manifest_keeps_what_it_needs(store: ImageStore) -> None:
    content = MemoryStore()
    inner = put_image(content)
    config = content.add_blob(b"{}", mediatype.OCI_CONFIG)
    odd = build_manifest(config, [Descriptor(mediatype.OCI_LAYER, inner.digest, inner.size)])
    index = build_index([inner])
    manifests = [manifest.raw for manifest in content.manifests.values()]
    for data in (*content.blobs.values(), *manifests, odd.raw, index.raw):
        store.blobs.put_bytes(data)
    for names in ("ab", "ba"):
        targets = zip(names, (odd.descriptor(), index.descriptor()), strict=True)
        store.add([(target, [Reference.parse(f"{name}:1")]) for name, target in targets])
        assert store.collect().blobs == ()


def test_m5_naming_the_layers_of_a_push(store: ImageStore, reads: Counter[Digest]) -> None:
    add_shared(store)
    image = store.find(Reference.parse("shared:1"))
    assert image is not None
    push = _Push.__new__(_Push)
    push._store = store
    reads.clear()
    assert push._diff_ids(image) == {Digest.of(BASE): Digest.of(BASE)}
    assert (len(reads), set(reads.values())) == (MANIFESTS, {1})


def test_m5_copying_what_belongs_to_an_image() -> None:
    asked: Counter[str | Digest] = Counter()

    class Counting(MemoryStore):
        def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
            asked[reference] += 1
            return super().get_manifest(reference)

    source = Counting()
    top = source.get_manifest(put_shared(source).digest)
    source.put_manifest(source.manifests[put_image(source).digest], f"sha256-{top.digest.hex}.sig")
    target = MemoryStore()
    plan = read_plan(source, top)
    assert copy_referrers(source, source, target, plan, events=lambda _: None) == 1
    assert list(target.tags) == [f"sha256-{top.digest.hex}.sig"]
    assert set(asked.values()) == {1}
