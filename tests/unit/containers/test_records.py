"""Containers are made, removed and cleaned up by many processes at once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from entrepot.containers.errors import ContainerRunning, NoSuchContainer
from entrepot.containers.records import Container, Containers, HostConfig, ProcessConfig
from entrepot.images.snapshots import remove_path
from entrepot.images.store import ImageStore


@pytest.fixture
def containers(tmp_path: Path) -> Containers:
    return Containers(ImageStore(tmp_path / "store"))


def test_a_container_being_made_is_no_leftover(containers: Containers) -> None:
    """Whoever cleans up meanwhile leaves it alone, from its first moment on."""
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            containers.clean(lambda _: None)

    with ThreadPoolExecutor(3) as pool:
        cleaners = [pool.submit(clean) for _ in range(3)]
        try:
            for number in range(2000):
                with containers.new(f"{number:064x}") as path:
                    (path / "record.json").touch()
                assert not path.exists()
        finally:
            over.set()
        for cleaner in cleaners:
            cleaner.result(timeout=60)


def test_what_a_dead_maker_left_is_removed(containers: Containers) -> None:
    containers.prepare()
    left = [containers.root / name for name in (".new-1", ".old-2")]
    for path in left:
        (path / "merged").mkdir(parents=True)
    seen: list[Path] = []
    with containers.new("3") as at_work:
        containers.clean(seen.append)
        assert at_work.is_dir()
    assert sorted(seen) == left
    assert not any(path.exists() for path in left)


def test_a_tree_may_be_removed_by_several_at_once(tmp_path: Path) -> None:
    for number in range(20):
        tree = tmp_path / str(number)
        deep = tree
        for level in range(80):
            deep = deep / "d"
            deep.mkdir(parents=True)
            (deep / f"f{level}").touch()
        start = threading.Barrier(3)

        def remove(path: Path = tree, start: threading.Barrier = start) -> None:
            start.wait(60)
            remove_path(path)

        with ThreadPoolExecutor(3) as pool:
            for done in [pool.submit(remove) for _ in range(3)]:
                done.result(timeout=60)
        assert not tree.exists()


def test_a_container_that_another_command_has_or_has_removed_is_told(containers: Containers) -> None:
    """Two `rm` at once."""
    twice = Container("1" * 64, "twice", datetime.now(UTC), "i:1", "", [], ProcessConfig(), HostConfig())
    with pytest.raises(NoSuchContainer, match="twice"), containers.alone(twice):
        pass
    containers.directory(twice).mkdir(parents=True)
    with (
        containers.alone(twice),
        pytest.raises(ContainerRunning, match="being started or removed by another"),
        containers.alone(twice),
    ):
        pass
