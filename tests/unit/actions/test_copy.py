"""`copy`: from anywhere to anywhere."""

from itertools import pairwise
from pathlib import Path

import pytest

from entrepot.actions.copy import copy
from entrepot.actions.endpoints import InvalidEndpoint
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from entrepot.layout.directory import ImageLayout
from entrepot.oci.platform import Platform
from tests.unit.images.makers import add_image, add_index


def test_a_round_trip_through_every_kind_of_place_changes_no_digest(
    store: ImageStore, repository: str, settings: ClientSettings, tmp_path: Path
) -> None:
    image = add_image(store, "app:1", layers=("a", "b"))
    places = [
        "store:app:1", f"docker://{repository}:1", f"oci:{tmp_path / 'layout'}:1",
        f"oci-archive:{tmp_path / 'oci.tar'}:1", f"docker-archive:{tmp_path / 'docker.tar'}:app:1",
        "store:back:1",
    ]  # fmt: skip
    for source, destination in pairwise(places):
        done = copy(source, destination, store=store, settings=settings)
        assert (done.digest, done.changed) == (image.target.digest, True), destination
    assert store.resolve("back:1").id == image.id
    again = copy(places[0], places[1], store=store, settings=settings)
    assert (again.changed, again.moved_blobs, again.present_blobs) == (False, 0, 3)


def test_a_dry_run_makes_nothing(store: ImageStore, tmp_path: Path) -> None:
    image = add_image(store, "app:1")
    foreseen = copy("store:app:1", f"oci:{tmp_path / 'layout'}:1", dry_run=True, store=store)
    assert foreseen.changed
    assert foreseen.moved_bytes == sum(store.blobs.size(digest) or 0 for digest in image.blobs)
    assert not (tmp_path / "layout").exists()


def test_some_platforms_are_a_smaller_index(store: ImageStore, tmp_path: Path) -> None:
    add_index(store, "multi:1", "amd64", "arm64", "s390x")
    goal = f"oci:{tmp_path / 'layout'}:1"
    copy("store:multi:1", goal, platforms=["linux/amd64", "linux/arm64"], store=store)
    children = ImageLayout(tmp_path / "layout").get_manifest("1").parse().references()[1]
    assert [child.platform for child in children] == [Platform("linux", "amd64"), Platform("linux", "arm64")]


def test_a_store_wants_a_name(store: ImageStore) -> None:
    image = add_image(store, "app:1")
    with pytest.raises(InvalidEndpoint):
        copy("store:app:1", f"store:{image.id}", store=store)
