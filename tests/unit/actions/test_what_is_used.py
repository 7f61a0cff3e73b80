"""Volumes, disk use, pruning, processes and figures, over a container that was made and never started."""

import subprocess
from pathlib import Path

import pytest

from entrepot.actions import stats as figures
from entrepot.actions.create import create_container
from entrepot.actions.disk_usage import disk_usage
from entrepot.actions.errors import InvalidFilter
from entrepot.actions.prune_containers import prune_containers
from entrepot.actions.ps import list_containers
from entrepot.actions.rm import remove_container
from entrepot.actions.stats import container_stats
from entrepot.actions.top import container_processes, parse_processes
from entrepot.actions.volumes import (
    NoSuchVolume,
    VolumeInUse,
    find_volume,
    inspect_volume,
    list_volumes,
    prune_volumes,
    remove_volume,
    volume_bytes,
)
from entrepot.containers.errors import ContainerNotRunning
from entrepot.containers.options import CreateOptions
from entrepot.containers.processes import processes_of, usage_of
from entrepot.containers.records import Container, Mount
from entrepot.errors import InvalidInput
from entrepot.images.store import ImageStore


@pytest.fixture
def with_volume(store: ImageStore, container: Container) -> Container:
    """`holder`, which has the volume `data`."""
    mount = Mount(source="", target="/data", kind="volume", name="data")
    return create_container("app:1", options=CreateOptions(name="holder", mounts=[mount]), store=store)


def test_a_volume_tells_who_has_it(store: ImageStore, with_volume: Container) -> None:
    volume = find_volume("data", store=store)
    assert (volume.containers, volume.is_anonymous) == ((with_volume.id,), False)
    assert inspect_volume("data", store=store)["Mountpoint"] == str(volume.path)
    with pytest.raises(VolumeInUse, match="volume is in use"):
        remove_volume("data", store=store)
    assert prune_volumes(all_volumes=True, store=store).removed == ()


def test_a_volume_nobody_has_goes_when_it_is_asked_for(store: ImageStore, with_volume: Container) -> None:
    remove_container("holder", store=store)
    (volume,) = list_volumes(store=store)
    (volume.path / "file").write_bytes(b"12345")
    assert volume_bytes(volume) == 5
    assert prune_volumes(store=store).removed == ()  # somebody named it
    assert prune_volumes(filters=["all=true"], store=store).freed_bytes == 5
    with pytest.raises(NoSuchVolume):
        find_volume("data", store=store)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (["name=dat"], 1), (["name=other"], 0), (["dangling=false"], 1), (["dangling=true"], 0),
        (["driver=local"], 1), (["driver=nfs"], 0), (["name=other", "name=data"], 1), (["label=a"], 0),
    ],
)  # fmt: skip
def test_volumes_are_filtered(
    store: ImageStore, with_volume: Container, filters: list[str], found: int
) -> None:
    assert len(list_volumes(filters=filters, store=store)) == found


@pytest.mark.parametrize("text", ["bad=1", "dangling=perhaps", "dangling"])
def test_a_filter_nobody_knows_is_refused(store: ImageStore, text: str) -> None:
    with pytest.raises(InvalidFilter):
        list_volumes(filters=[text], store=store)


def test_containers_that_never_ran_are_pruned_too(store: ImageStore, container: Container) -> None:
    assert prune_containers(filters=["label!=from=image"], store=store).removed == ()
    assert prune_containers(filters=["label=from=image"], store=store).removed == (container.id,)
    assert list_containers(all_containers=True, store=store) == []


def test_disk_use_names_what_can_go(store: ImageStore, with_volume: Container) -> None:
    images, containers, volumes = disk_usage(store=store)
    assert (images.total, images.active, images.reclaimable) == (1, 1, 0)
    assert (containers.total, containers.active) == (2, 0)
    assert (volumes.total, volumes.active, volumes.reclaimable) == (1, 1, 0)
    prune_containers(store=store)
    images, containers, volumes = disk_usage(store=store)
    assert images.reclaimable == images.size > 0
    assert containers.total == 0
    assert (volumes.active, volumes.reclaimable) == (0, volumes.size)


def test_a_container_that_does_not_run_has_no_processes(store: ImageStore, container: Container) -> None:
    with pytest.raises(ContainerNotRunning):
        container_processes("box", store=store)


def test_processes_are_picked_by_their_number_in_any_column() -> None:
    output = "USER   PID COMMAND\nroot    12 sh -c  x\nroot     1 init\nroot   123\n"
    found = parse_processes(output, frozenset(("12", "123")))
    assert (found.titles, found.rows) == (
        ("USER", "PID", "COMMAND"), (("root", "12", "sh -c  x"), ("root", "123")),
    )  # fmt: skip
    with pytest.raises(InvalidInput, match="Couldn't find PID field"):
        parse_processes("COMMAND\nsh\n", frozenset(("1",)))


def test_figures_of_a_container_that_does_not_run_are_nought(store: ImageStore, container: Container) -> None:
    (row,) = next(container_stats(["box"], interval_s=0.0, store=store))
    assert (row.cpu_percent, row.memory_percent, row.usage.pids) == (0.0, 0.0, 0)
    assert next(container_stats(interval_s=0.0, store=store)) == []
    assert len(next(container_stats(all_containers=True, interval_s=0.0, store=store))) == 1
    assert figures.INTERVAL_S > 0


def test_processes_below_one_that_shares_the_hosts_numbers_are_found() -> None:
    with subprocess.Popen(
        ["sh", "-c", "sleep 60 & echo $!; wait"], stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        second = int(first.stdout.readline())
        try:
            assert list(processes_of(first.pid)) == [first.pid, second]
            assert usage_of(first.pid).pids == 2
        finally:
            subprocess.run(["kill", str(second)], check=True)
    assert not Path(f"/proc/{first.pid}").exists()
    assert list(processes_of(first.pid)) == []
