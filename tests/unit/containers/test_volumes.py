"""A new volume has what the image has there: all of it, or it is not there."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from entrepot.containers import volumes
from entrepot.containers.records import Mount
from entrepot.containers.volumes import make_volume, volume_path
from entrepot.images.store import ImageStore
from entrepot.layers.union import Union
from tests.support.locks import somebody_waits_for
from tests.support.processes import wait_until

MOUNT = Mount(source="", target="/data", kind="volume", name="vol")


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    found = ImageStore(tmp_path / "store")
    found.prepare()
    return found


@pytest.fixture
def image(tmp_path: Path) -> Iterator[Union]:
    folder = tmp_path / "image/data"
    folder.mkdir(parents=True)
    for name in "abc":
        (folder / name).write_text(name)
    with Union([tmp_path / "image"]) as union:
        yield union


def content(volume: Mount) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(Path(volume.source).iterdir())}


WHOLE = {"a": "a", "b": "b", "c": "c"}


def test_a_disk_that_is_full_leaves_no_volume(
    store: ImageStore, image: Union, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fill_up(_: Sequence[int], target: int) -> None:
        os.close(os.open("a", os.O_CREAT | os.O_WRONLY, dir_fd=target))
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(volumes, "copy_tree", fill_up)
        with pytest.raises(OSError, match="No space left"):
            make_volume(store, MOUNT, image)
    assert content(make_volume(store, MOUNT, image)) == WHOLE


def test_what_a_killed_process_left_is_not_taken(store: ImageStore, image: Union) -> None:
    half = volume_path(store, "vol").with_name("new")
    half.mkdir(parents=True)
    (half / "rest").touch()
    assert content(make_volume(store, MOUNT, image)) == WHOLE
    assert not half.exists()


def test_a_volume_that_another_container_makes_is_waited_for(
    store: ImageStore, image: Union, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    copy_tree = volumes.copy_tree
    seen: list[dict[str, str]] = []

    def slow(sources: Sequence[int], target: int) -> None:
        at_work.set()
        assert go_on.wait(60)
        copy_tree(sources, target)

    monkeypatch.setattr(volumes, "copy_tree", slow)
    first = threading.Thread(target=make_volume, args=(store, MOUNT, image))
    second = threading.Thread(target=lambda: seen.append(content(make_volume(store, MOUNT, image))))
    first.start()
    assert at_work.wait(60)
    second.start()
    lock = volume_path(store, "vol").with_name("lock")
    wait_until(lambda: seen or somebody_waits_for(lock), what="the second container's volume")
    go_on.set()
    first.join()
    second.join()
    assert seen == [WHOLE]
