"""Lists in progress: changes made at once are all kept, and entries are named as they were added."""

import json
import threading
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from entrepot.actions import manifest_annotate, manifest_create, manifest_lists, manifest_push
from entrepot.actions.endpoints import Ends
from entrepot.actions.manifest_annotate import PlatformChange, annotate_manifest
from entrepot.actions.manifest_create import create_manifest
from entrepot.actions.manifest_lists import (
    Gathered,
    ManifestList,
    ManifestListExists,
    ManifestLists,
    ManifestNotInList,
    NoSuchManifestList,
    gather,
)
from entrepot.actions.manifest_push import PushedManifest, push_manifest
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import GraphTooLarge
from entrepot.files import locked
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from tests.unit.images.makers import add_image, add_index

SETTINGS = ClientSettings.load({})


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    store = ImageStore(tmp_path / "store")
    add_image(store, "one:1", layers=("one",))
    add_image(store, "two:1", layers=("two",), architecture="arm64")
    return store


def amend(store: ImageStore, image: str) -> None:
    create_manifest("multi:1", [image], amend=True, store=store, settings=SETTINGS)


def sources(store: ImageStore) -> list[str]:
    return [entry.source for entry in ManifestLists(store).get("multi:1").entries]


@pytest.mark.parametrize("amends", [True, False], ids=["amend", "create"])
def test_images_added_while_others_are_looked_up_stay(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch, amends: bool
) -> None:
    def gather_slowly(text: str, ends: Ends) -> Gathered:
        if text == "store:one:1":
            amend(store, "store:two:1")
        return gather(text, ends)

    monkeypatch.setattr(manifest_create, "gather", gather_slowly)
    if amends:
        amend(store, "store:one:1")
        assert sources(store) == ["store:two:1", "store:one:1"]
    else:
        with pytest.raises(ManifestListExists):
            create_manifest("multi:1", ["store:one:1"], store=store, settings=SETTINGS)
        assert sources(store) == ["store:two:1"]


def test_two_annotations_at_once_are_both_kept(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    amend(store, "store:one:1")
    amend(store, "store:two:1")
    real_changed = manifest_annotate._changed
    about_to_lock = threading.Event()
    other = threading.Thread(
        target=annotate_manifest,
        args=("multi:1", "two:1", PlatformChange(variant="v8")),
        kwargs={"store": store},
    )

    def changed(descriptor: Descriptor, change: PlatformChange) -> Descriptor:
        if threading.current_thread() is not other:
            other.start()
            assert about_to_lock.wait(30)
        return real_changed(descriptor, change)

    def locked_seen(path: Path, *, exclusive: bool) -> AbstractContextManager[None]:
        if threading.current_thread() is other:
            about_to_lock.set()
        return locked(path, exclusive=exclusive)

    monkeypatch.setattr(manifest_annotate, "_changed", changed)
    monkeypatch.setattr(manifest_lists, "locked", locked_seen)
    annotate_manifest("multi:1", "one:1", PlatformChange(variant="v2"), store=store)
    other.join(30)
    platforms = [entry.parsed().platform for entry in ManifestLists(store).get("multi:1").entries]
    assert [platform.variant for platform in platforms if platform] == ["v2", "v8"]


def test_a_purge_forgets_what_was_sent_and_not_what_came_meanwhile(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push_list(found: ManifestList, *_: object, **__: object) -> PushedManifest:
        if len(found.entries) == 1:
            amend(store, "store:two:1")
        return PushedManifest(found.name, found.entries[0].parsed().digest)

    monkeypatch.setattr(manifest_push, "push_list", push_list)
    amend(store, "store:one:1")
    push_manifest("multi:1", purge=True, store=store, settings=SETTINGS)
    assert sources(store) == ["store:one:1", "store:two:1"]
    push_manifest("multi:1", purge=True, store=store, settings=SETTINGS)
    assert ManifestLists(store).names() == []


@pytest.mark.parametrize("named", ["store:two:1", "two:1", "docker.io/library/two:1", "digest"])
def test_an_entry_is_annotated_by_its_place_name_or_digest(store: ImageStore, named: str) -> None:
    amend(store, "store:one:1")
    amend(store, "store:two:1")
    digest = str(store.resolve("two:1").target.digest)
    annotate_manifest("multi:1", digest if named == "digest" else named, PlatformChange(variant="v8"),
                      store=store)  # fmt: skip
    entry = ManifestLists(store).get("multi:1").entries[1]
    assert json.loads(entry.manifest())["schemaVersion"] == 2
    assert entry.descriptor["platform"] == {"architecture": "arm64", "os": "linux", "variant": "v8"}


def test_annotating_what_is_not_there_changes_nothing(store: ImageStore) -> None:
    with pytest.raises(NoSuchManifestList, match="No such manifest: multi:1"):
        annotate_manifest("multi:1", "store:two:1", PlatformChange(variant="v8"), store=store)
    amend(store, "store:one:1")
    before = ManifestLists(store).get("multi:1")
    for image in ("store:two:1", "two:1", f"sha256:{'0' * 64}"):
        with pytest.raises(ManifestNotInList, match=f"manifest for image {image} does not exist in multi:1"):
            annotate_manifest("multi:1", image, PlatformChange(variant="v8"), store=store)
    assert ManifestLists(store).get("multi:1") == before


def test_m5_the_manifests_of_an_index_have_an_end(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add_index(store, "both:1", "amd64", "arm64")
    amend(store, "store:both:1")
    monkeypatch.setattr(manifest_lists, "MAX_MANIFEST_BYTES", 500)
    with pytest.raises(GraphTooLarge, match="the manifests of store:both:1 have more than"):
        amend(store, "store:both:1")
