"""Walking a graph: each manifest once, children first, no deeper than eight (M5)."""

import pytest

from entrepot.content import graph
from entrepot.content.errors import GraphTooDeep, GraphTooLarge
from entrepot.content.graph import walk
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import CancelToken, ManifestBytes
from entrepot.content.verify import DigestMismatch, SizeMismatch
from entrepot.errors import Cancelled
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import Index, build_index, build_manifest


class Counting(MemoryStore):
    """Counts what is fetched."""

    fetched = 0

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        self.fetched += 1
        return super().get_manifest(reference)


@pytest.fixture
def store() -> Counting:
    return Counting()


def put_image(store: MemoryStore, layer: bytes = b"layer") -> Descriptor:
    manifest = build_manifest(store.add_blob(b"{}"), [store.add_blob(layer)])
    store.put_manifest(ManifestBytes.from_manifest(manifest), None)
    return manifest.descriptor()


def put_index(
    store: MemoryStore, *children: Descriptor, tag: str | None = None, note: str = ""
) -> Descriptor:
    index = build_index(children, annotations={"note": note})
    store.put_manifest(ManifestBytes.from_manifest(index), tag)
    return index.descriptor()


def test_children_come_before_parents(store: Counting) -> None:
    first, second = put_image(store), put_image(store, b"other")
    index = put_index(store, first, second, tag="t")
    nodes = list(walk(store, "t"))
    assert [node.manifest.digest for node in nodes] == [first.digest, second.digest, index.digest]
    assert [node.depth for node in nodes] == [1, 1, 0]
    assert isinstance(nodes[-1].parsed, Index)
    assert [len(node.blobs) for node in nodes] == [2, 2, 0]


def test_m5_a_shared_child_is_visited_once(store: Counting) -> None:
    below = put_image(store)
    for level in range(10):  # a diamond at each level: 2**10 paths
        left, right = put_index(store, below, note=f"l{level}"), put_index(store, below, note=f"r{level}")
        below = put_index(store, left, right)
    store.put_manifest(store.get_manifest(below.digest), "t")
    store.fetched = 0
    nodes = list(walk(store, "t", max_depth=20))
    assert len(nodes) == len({node.manifest.digest for node in nodes}) == 31
    assert store.fetched == 31


def test_m5_nesting_has_an_end(store: Counting) -> None:
    below = put_image(store)
    for level in range(8):
        below = put_index(store, below, note=str(level))
    assert len(list(walk(store, below.digest))) == 9
    deeper = put_index(store, below, note="8")
    with pytest.raises(GraphTooDeep):
        list(walk(store, deeper.digest))


def test_m5_depth_counts_on_the_longest_way_to_what_is_shared(store: Counting) -> None:
    levels = [put_image(store)]
    for level in range(9):
        levels.append(put_index(store, levels[-1], note=str(level)))
    fits = put_index(store, *levels[:8], note="fits")
    assert len(list(walk(store, fits.digest))) == 9
    deeper = put_index(store, *levels[:9], note="deeper")  # each of them is right below it, too
    with pytest.raises(GraphTooDeep):
        list(walk(store, deeper.digest))


def test_m5_a_graph_of_too_many_manifests_is_not_fetched_to_its_end(store: Counting) -> None:
    images = [put_image(store, bytes([number])) for number in range(20)]
    index = put_index(store, *images)
    assert len(list(walk(store, index.digest, max_manifests=21))) == 21
    store.fetched = 0
    with pytest.raises(GraphTooLarge, match="has more than 5 manifests"):
        list(walk(store, index.digest, max_manifests=5))
    assert store.fetched == 7  # the index, and one more than may be


def test_m5_manifests_of_too_many_bytes_are_not_fetched_to_the_end(
    store: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [put_index(store, note=f"{number}" + "x" * 60_000) for number in range(100, 160)]
    index = put_index(store, *images)
    monkeypatch.setattr(graph, "MAX_MANIFEST_BYTES", 1 << 20)
    store.fetched = 0
    with pytest.raises(GraphTooLarge, match="have more than 1 MiB together"):
        list(walk(store, index.digest))
    assert store.fetched == 19


def test_a_child_of_another_size_is_refused(store: Counting) -> None:
    image = put_image(store)
    lie = Descriptor(image.media_type, image.digest, image.size + 1)
    index = put_index(store, lie)
    with pytest.raises(SizeMismatch):
        list(walk(store, index.digest))


def test_a_manifest_of_another_digest_is_refused(store: Counting) -> None:
    image = put_image(store)
    stored = store.manifests[image.digest]
    store.manifests[image.digest] = ManifestBytes(stored.raw + b"\n", stored.media_type, stored.digest)
    with pytest.raises(DigestMismatch):
        list(walk(store, image.digest))


def test_a_token_cancels_once_for_all() -> None:
    token = CancelToken()
    token.check()
    assert not token.cancelled
    token.cancel()
    assert token.cancelled
    assert token.wait(60)
    with pytest.raises(Cancelled):
        token.check()
