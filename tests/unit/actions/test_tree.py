"""What belongs to an image, and to that, is shown; once, and up to a limit."""

import contextlib
from collections.abc import Iterator

import pytest

from entrepot.actions import tree as module
from entrepot.actions.endpoints import OpenOrigin, parse_endpoint
from entrepot.actions.signatures import ImageThere
from entrepot.actions.tree import ReferrerTree, tree
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.errors import LimitExceeded
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.platform import Platform

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
PREDICATE = "dev.sigstore.bundle.predicateType"


def put(
    store: MemoryStore, text: bytes, tag: str | None = None, *, subject: Descriptor | None = None,
    kind: str = "", **annotations: str,
) -> Descriptor:  # fmt: skip
    config = store.add_blob(b"{}", mediatype.OCI_CONFIG)
    layer = store.add_blob(text, mediatype.OCI_LAYER)
    notes = {name.replace("_", "."): value for name, value in annotations.items()}
    made = build_manifest(config, [layer], subject=subject, artifact_type=kind or None, annotations=notes)
    store.put_manifest(ManifestBytes.from_manifest(made), tag)
    return made.descriptor()


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """Where every name is tag `1`."""
    store = MemoryStore()

    @contextlib.contextmanager
    def opened(text: str, _ends: object) -> Iterator[ImageThere]:
        origin = OpenOrigin(store, "1", None, store, store)
        yield ImageThere(parse_endpoint(text), origin, store.get_manifest("1").descriptor())

    monkeypatch.setattr(module, "open_image", opened)
    return store


def shape(node: ReferrerTree) -> object:
    return {one.label: shape(one) for one in node.children} if node.children else {}


def test_platforms_and_referrers_of_referrers(place: MemoryStore) -> None:
    amd, arm = put(place, b"amd"), put(place, b"arm")
    entries = [
        Descriptor(one.media_type, one.digest, one.size, platform=Platform("linux", arch))
        for one, arch in ((amd, "amd64"), (arm, "arm64"))
    ]
    index = build_index(entries)
    place.put_manifest(ManifestBytes.from_manifest(index), "1")
    signed = put(place, b"s", subject=index.descriptor(), kind=BUNDLE)
    put(place, b"n", subject=signed, kind="application/vnd.cncf.notary.signature")
    put(place, b"p", subject=amd, kind=BUNDLE, dev_sigstore_bundle_predicateType="https://spdx.dev/Document")
    put(place, b"o", f"sha256-{amd.digest.hex}.sig")
    put(place, b"x", subject=arm, kind="application/x")
    assert shape(tree("h/app:1")) == {
        "linux/amd64": {"attestation https://spdx.dev/Document": {}, "signature (cosign, by tag)": {}},
        "linux/arm64": {"application/x": {}},
        "signature (sigstore)": {"signature (notation)": {}},
    }


def test_a_circle_ends(place: MemoryStore) -> None:
    for number in range(5):
        put(place, b"%d" % number, "1" if not number else None)
    place.list_referrers = lambda _digest, _kind=None: [  # type: ignore[method-assign]
        one.descriptor() for one in place.manifests.values()
    ]
    assert str(tree("h/app:1").to_json()).count("'digest'") == 5


def test_a_flood_is_refused(place: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_NODES", 3)
    image = put(place, b"image", "1")
    for number in range(5):
        put(place, b"%d" % number, subject=image, kind="application/x")
    with pytest.raises(LimitExceeded, match="more than 3 manifests"):
        tree("h/app:1")
