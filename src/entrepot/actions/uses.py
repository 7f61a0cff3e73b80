"""What image verbs have to know of containers: who uses an image, what may be unpacked no longer.

Most stores never see a container, so nothing of them is imported before there is one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from entrepot.errors import NotFound
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest

if TYPE_CHECKING:
    from datetime import datetime

    from entrepot.actions.rmi import ContainerUse


def containers_by_image(store: ImageStore) -> Mapping[Digest, Sequence[ContainerUse]]:
    """Image ID → its containers, running ones first."""
    if not _has_containers(store):
        return {}
    from entrepot.actions.create import lifecycle_of
    from entrepot.actions.rmi import ContainerUse

    lifecycle = lifecycle_of(store)
    found: dict[Digest, list[ContainerUse]] = {}
    for container in lifecycle.containers.list():
        running = lifecycle.settled_state(container).status == "running"
        found.setdefault(Digest.parse(container.image_id), []).append(ContainerUse(container.id, running))
    return {image: sorted(uses, key=lambda use: not use.running) for image, uses in found.items()}


def collect_snapshots(store: ImageStore) -> None:
    """Remove unpacked layers that neither an image nor a container stands on."""
    if not (store.paths.own / "snapshots").exists():
        return
    from entrepot.containers.records import Containers
    from entrepot.images.snapshots import Snapshots
    from entrepot.oci.imageconfig import chain_ids

    def needed() -> set[Digest]:
        of_images = [image.diff_ids for image in store.list()]
        of_containers = [
            tuple(Digest.parse(text) for text in container.diff_ids) for container in Containers(store).list()
        ]
        return {chain for diff_ids in (*of_images, *of_containers) for chain in chain_ids(diff_ids)}

    Snapshots(store).collect(needed)


def inspect_container(name: str, *, size: bool = False, store: ImageStore) -> dict[str, Any]:
    """docker's document about a container. Raises NoSuchContainer."""
    if not _has_containers(store):
        raise NotFound(f"No such container: {name}")
    from entrepot.actions.create import lifecycle_of

    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    state = lifecycle.settled_state(container)
    directory = lifecycle.containers.directory(container)
    argv, process, host = container.argv, container.process, container.host
    document: dict[str, Any] = {
        "Id": container.id,
        "Created": _time(container.created),
        "Path": argv[0] if argv else "",
        "Args": argv[1:],
        "State": {
            "Status": state.status,
            "Running": state.status == "running",
            "Paused": state.paused,
            "Restarting": False,
            "OOMKilled": state.oom_killed,
            "Dead": False,
            "Pid": state.pid if state.status == "running" else 0,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": _time(state.started),
            "FinishedAt": _time(state.finished),
        },
        "Image": container.image_id,
        "LogPath": str(directory / "log"),
        "Name": f"/{container.name}",
        "Platform": "linux",
        "HostConfig": {
            "NetworkMode": host.network,
            "AutoRemove": host.auto_remove,
            "Privileged": host.privileged,
            "ReadonlyRootfs": host.read_only,
            "CapAdd": host.cap_add or None,
            "CapDrop": host.cap_drop or None,
            "Memory": host.memory_bytes,
            "NanoCpus": int(host.cpus * 1e9),
            "PidsLimit": host.pids_limit or None,
            "ShmSize": host.shm_bytes,
            "ExtraHosts": host.extra_hosts or None,
        },
        "GraphDriver": {"Data": None, "Name": container.rootfs},
        "Mounts": [
            {
                "Type": mount.kind,
                **({"Name": mount.name} if mount.name else {}),
                "Source": mount.source,
                "Destination": mount.target,
                "RW": not mount.read_only,
                "Propagation": mount.propagation,
            }
            for mount in host.mounts
        ],
        "Config": {
            "Hostname": process.hostname,
            "User": process.user,
            "Tty": process.tty,
            "OpenStdin": process.open_stdin,
            "Env": process.env,
            "Cmd": process.cmd,
            "Image": container.image,
            "Volumes": {path: {} for path in process.volumes} or None,
            "WorkingDir": process.working_dir,
            "Entrypoint": process.entrypoint,
            "Labels": process.labels,
        },
        "NetworkSettings": {"Networks": {host.network: {}}},
    }
    if size:
        document["SizeRw"] = sum(
            path.lstat().st_size for path in (directory / "upper").rglob("*") if not path.is_dir()
        )
    return document


def _has_containers(store: ImageStore) -> bool:
    return (store.paths.own / "containers").exists()


def _time(moment: datetime | None) -> str:
    from entrepot.images.times import print_time

    return print_time(moment) if moment is not None else "0001-01-01T00:00:00Z"
