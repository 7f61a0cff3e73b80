"""Verbs of containers on one that was made and never started; those that run are in tests/integration."""

import io
import os
import tarfile
from pathlib import Path

import pytest

from entrepot.actions.commit import commit_container
from entrepot.actions.container_inspect import container_sizes, inspect_container
from entrepot.actions.cp import copy_from_container, copy_to_container
from entrepot.actions.create import create_container
from entrepot.actions.diff import container_changes
from entrepot.actions.export import export_container
from entrepot.actions.kill import CannotKill, kill_container
from entrepot.actions.logs import container_logs
from entrepot.actions.ps import list_containers
from entrepot.actions.rename import rename_container
from entrepot.actions.rm import remove_container
from entrepot.actions.run import run_container
from entrepot.actions.start import start_container
from entrepot.actions.stop import stop_container
from entrepot.actions.uses import collect_snapshots, containers_by_image
from entrepot.actions.wait import wait_for_container
from entrepot.containers.errors import (
    ContainerNameTaken,
    NoCommand,
    NoRuntime,
    NoSuchContainer,
    NoSuchPath,
)
from entrepot.containers.options import CreateOptions
from entrepot.containers.records import Container
from entrepot.images.errors import NoSuchImage
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from tests.support.images import layer_tar
from tests.unit.images.makers import add_image


@pytest.fixture
def no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTREPOT_RUNTIME", "no-such-runtime")


def test_a_container_has_the_images_command_and_the_users_settings(
    store: ImageStore, container: Container
) -> None:
    document = inspect_container("box", store=store)
    assert (document["Path"], document["Args"]) == ("/bin/app", ["--serve"])
    assert "A=1" in document["Config"]["Env"]
    assert document["Config"]["Labels"] == {"from": "image"}
    assert document["State"]["Status"] == "created"
    own, whole = container_sizes(container, store=store)
    assert (own, whole) == (0, len("base") + len("top"))


def test_what_cannot_be_created_leaves_no_container(store: ImageStore, container: Container) -> None:
    add_image(store, "silent:1", layers=("silent",))
    with pytest.raises(NoCommand):
        create_container("silent:1", store=store)
    with pytest.raises(ContainerNameTaken):
        create_container("app:1", options=CreateOptions(name="box"), store=store)
    with pytest.raises(NoSuchImage):
        create_container("none:1", pull="never", store=store)
    assert [one.container.id for one in list_containers(all_containers=True, store=store)] == [container.id]


def test_a_list_shows_it_when_all_are_asked_for_and_under_its_new_name(
    store: ImageStore, container: Container
) -> None:
    assert list_containers(store=store) == []
    rename_container("box", "crate", store=store)
    (shown,) = list_containers(filters=["name=crate"], all_containers=True, store=store)
    assert (shown.container.id, shown.state.status, shown.image) == (container.id, "created", "app:1")


def test_files_go_in_and_out_and_are_told_as_changes(
    store: ImageStore, container: Container, tmp_path: Path
) -> None:
    (tmp_path / "in.txt").write_bytes(b"in")
    copy_to_container(tmp_path / "in.txt", "box", "/own.txt", store=store)
    copy_to_container(io.BytesIO(layer_tar({"more.txt": b"more"})), "box", "/", store=store)
    assert [(one.kind, one.path) for one in container_changes("box", store=store)] == [
        ("A", "/more.txt"), ("A", "/own.txt"),
    ]  # fmt: skip
    copy_from_container("box", "/own.txt", tmp_path / "out.txt", store=store)
    assert (tmp_path / "out.txt").read_bytes() == b"in"
    with pytest.raises(NoSuchPath):
        copy_from_container("box", "/none", tmp_path / "none", store=store)
    export_container("box", tmp_path / "all.tar", store=store)
    with tarfile.open(tmp_path / "all.tar") as tar:
        assert {"base.txt", "top.txt", "own.txt", "more.txt"} <= set(tar.getnames())


def test_its_changes_are_a_layer_of_the_image_it_is_committed_to(
    store: ImageStore, container: Container
) -> None:
    base = store.resolve("app:1")
    unchanged = commit_container("box", "same:1", store=store)
    assert unchanged.diff_ids == base.diff_ids
    copy_to_container(io.BytesIO(layer_tar({"own.txt": b"own"})), "box", "/", store=store)
    image = commit_container("box", "own:1", changes=["LABEL a=b"], author="me", store=store)
    assert image.diff_ids[:-1] == base.diff_ids
    assert image.parent == base.id
    document = store.config(image).document
    assert document["config"]["Labels"] == {"from": "image", "a": "b"}
    assert document["author"] == "me"


def test_one_that_does_not_run_is_neither_killed_nor_stopped(store: ImageStore, container: Container) -> None:
    with pytest.raises(CannotKill):
        kill_container("box", store=store)
    stop_container("box", store=store)
    assert wait_for_container("box", store=store) == 0
    assert list(container_logs("box", store=store)) == []


@pytest.mark.usefixtures("no_runtime")
def test_without_a_runtime_nothing_starts_and_nothing_stays(store: ImageStore, container: Container) -> None:
    with pytest.raises(NoRuntime):
        start_container("box", store=store)
    with pytest.raises(NoRuntime):
        run_container("app:1", options=CreateOptions(auto_remove=True), store=store)
    assert [one.container.id for one in list_containers(all_containers=True, store=store)] == [container.id]


def test_an_image_knows_who_uses_it_and_its_unpacked_layers_stay_as_long(
    store: ImageStore, container: Container
) -> None:
    image_id = Digest.parse(container.image_id)
    (use,) = containers_by_image(store)[image_id]
    assert (use.container, use.running) == (container.id, False)
    store.remove_image(store.resolve("app:1"))
    collect_snapshots(store)
    assert unpacked(store)
    remove_container("box", store=store)
    assert containers_by_image(store) == {}
    collect_snapshots(store)
    assert not unpacked(store)
    with pytest.raises(NoSuchContainer):
        remove_container("box", store=store)


def unpacked(store: ImageStore) -> list[str]:
    return [name for _, _, names in os.walk(store.paths.own / "snapshots") for name in names if "txt" in name]
