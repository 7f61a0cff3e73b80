"""Many images at once, and several of them in one archive."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from entrepot.actions import sync as action
from entrepot.actions.copy import Copied, copy, copy_between
from entrepot.actions.listing import list_tags
from entrepot.archive.reading import open_archive
from entrepot.images.store import ImageStore
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    made = ImageStore(tmp_path / "store")
    for tag in ("1", "2", "3"):
        add_image(made, f"app:{tag}", layers=("base", tag))
    return made


def test_images_are_copied_at_the_same_time(
    store: ImageStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = threading.Barrier(3)

    def waiting(*arguments: Any, **options: Any) -> Copied:
        together.wait(60)  # breaks unless all three are under way at once
        return copy_between(*arguments, **options)

    monkeypatch.setattr(action, "copy_between", waiting)
    done = action.sync("store:app", f"oci:{tmp_path / 'layout'}", jobs=3, store=store)
    assert sorted(one.destination.rpartition(":")[2] for one in done) == ["1", "2", "3"]
    assert list(list_tags(f"oci:{tmp_path / 'layout'}", store=store)) == ["1", "2", "3"]


def test_an_oci_archive_gets_all_of_them(store: ImageStore, tmp_path: Path) -> None:
    archive = tmp_path / "all.tar"
    action.sync("store:app", f"oci-archive:{archive}", store=store)
    assert sorted(list_tags(f"oci-archive:{archive}", store=store)) == ["1", "2", "3"]
    before = archive.read_bytes()
    action.sync("store:app", f"oci-archive:{archive}", store=store)
    assert archive.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("goal", "name"), [("", "app"), (":other/name", "other/name")])
def test_a_docker_archive_gets_all_of_them(store: ImageStore, tmp_path: Path, goal: str, name: str) -> None:
    archive = tmp_path / "all.tar"
    action.sync("store:app", f"docker-archive:{archive}{goal}", store=store)
    with open_archive(archive, tmp=tmp_path) as opened:
        names = [reference for image in opened.images for reference in image.references]
    assert names == [Reference.parse(f"{name}:{tag}") for tag in ("1", "2", "3")]


def test_a_list_may_lead_into_one_archive(store: ImageStore, tmp_path: Path) -> None:
    add_image(store, "tool:9", layers=("tool",))
    goal = f"docker-archive:{tmp_path / 'all.tar'}"
    pairs = action.read_list(f"store:app:1 {goal}\nstore:tool:9 {goal}:renamed:9\n")
    action.sync_list(pairs, store=store)
    assert sorted(list_tags(goal, store=store)) == ["app:1", "renamed:9"]


def test_an_archive_appears_only_when_all_went_well(store: ImageStore, tmp_path: Path) -> None:
    goal = f"oci-archive:{tmp_path / 'all.tar'}"
    pairs = [action.Pair("store:app:1", f"{goal}:1"), action.Pair("store:nope:1", f"{goal}:2")]
    with pytest.raises(Exception, match="nope"):
        action.sync_list(pairs, jobs=1, store=store)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    kept = action.sync_list(pairs, keep_going=True, store=store)
    assert [one.error is None for one in sorted(kept, key=lambda one: one.destination)] == [True, False]
    assert list(list_tags(goal, store=store)) == ["1"]
    copy("store:app:2", goal, store=store)
    assert list(list_tags(goal, store=store)) == ["2"]


def test_an_oci_archive_is_brought_to_a_repository_tag_by_tag(store: ImageStore, tmp_path: Path) -> None:
    archive = f"oci-archive:{tmp_path / 'all.tar'}"
    action.sync("store:app", archive, store=store)
    other = ImageStore(tmp_path / "other")
    action.sync(archive, "store:copied", store=other)
    assert [tag.tag for tag in other.tags_of(Reference.parse("copied"))] == ["1", "2", "3"]
    for tag in ("1", "2", "3"):
        assert other.resolve(f"copied:{tag}").id == store.resolve(f"app:{tag}").id
