"""Reading what a plan is made from: each manifest once, and none that nobody wants."""

from collections import Counter

import pytest

from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.content.verify import SizeMismatch
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.platform import Platform
from entrepot.transfer.plan import PlatformChoice
from entrepot.transfer.reading import read_plan

AMD, ARM, S390 = (Platform("linux", one) for one in ("amd64", "arm64", "s390x"))


class Counting(MemoryStore):
    """Counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str | Digest] = Counter()

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        self.asked[reference] += 1
        return super().get_manifest(reference)


@pytest.fixture
def source() -> Counting:
    """`all`: an index of three platforms."""
    store = Counting()
    children = []
    for platform in (AMD, ARM, S390):
        config = store.add_blob(str(platform).encode(), mediatype.OCI_CONFIG)
        layers = [store.add_blob(text, mediatype.OCI_LAYER) for text in (b"base", str(platform).encode() * 2)]
        manifest = ManifestBytes.from_manifest(build_manifest(config, layers))
        store.put_manifest(manifest, None)
        size = len(manifest.raw)
        children.append(Descriptor(manifest.media_type, manifest.digest, size, platform=platform))
    store.put_manifest(ManifestBytes.from_manifest(build_index(children)), "all")
    return store


@pytest.mark.parametrize(
    ("wanted", "read", "blobs"), [((), 4, 7), ((ARM,), 2, 3), ((AMD, S390), 3, 5)], ids=["all", "one", "some"]
)
def test_each_manifest_wanted_is_read_once(
    source: Counting, wanted: tuple[Platform, ...], read: int, blobs: int
) -> None:
    source.blobs.clear()
    root = source.get_manifest("all")
    plan = read_plan(source, root, platforms=PlatformChoice.some(wanted))
    assert plan.root == root
    assert plan.manifests[-1].manifest == plan.top
    assert (sum(source.asked.values()), set(source.asked.values())) == (read, {1})
    assert len(plan.blobs) == blobs


def test_a_child_of_another_length_than_its_index_says_is_refused(source: Counting) -> None:
    first, *others = source.get_manifest("all").parse().references()[1]
    longer = Descriptor(first.media_type, first.digest, first.size + 1, platform=AMD)
    source.put_manifest(ManifestBytes.from_manifest(build_index([longer, *others])), "lying")
    for choice in (PlatformChoice.all(), PlatformChoice.one(AMD)):
        with pytest.raises(SizeMismatch):
            read_plan(source, source.get_manifest("lying"), platforms=choice)
