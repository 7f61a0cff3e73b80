"""`inspect` of a container: docker's document about it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

from entrepot.actions.places import the_store
from entrepot.containers.looking import settled_state
from entrepot.containers.ports import published, wanted
from entrepot.containers.records import Container, Containers, Mount, State
from entrepot.images.snapshots import Snapshots
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.oci.digest import Digest

_NEVER = "0001-01-01T00:00:00Z"


def inspect_container(
    name: str, *, size: bool = False, store: ImageStore | Path | str | None = None
) -> dict[str, Any]:
    """The document `docker container inspect` prints. Raises NoSuchContainer."""
    containers = Containers(the_store(store))
    container = containers.find(name)
    document = _describe(containers, container, settled_state(containers, container))
    if size:
        own, total = container_sizes(container, store=store)
        document |= {"SizeRw": own, "SizeRootFs": total}
    return document


def container_sizes(container: Container, *, store: ImageStore | Path | str | None = None) -> tuple[int, int]:
    """Bytes in files that the container wrote, and those with its image's."""
    from entrepot.actions.create import lifecycle_of
    from entrepot.layers.entry import Kind

    lifecycle = lifecycle_of(store)
    rootfs = lifecycle.rootfs(container)
    with rootfs.changes() as changes:
        own = sum(change.entry.size for change in changes if change.entry and change.entry.kind is Kind.FILE)
    return own, own + lifecycle.snapshots.size([Digest.parse(text) for text in container.diff_ids])


def _describe(containers: Containers, container: Container, state: State) -> dict[str, Any]:
    from entrepot.containers.rootfs import rootfs_of  # an image's document needs none of it

    directory = containers.directory(container).absolute()
    rootfs = rootfs_of(containers, container, Snapshots(containers.store))
    argv = container.argv
    return {
        "Id": container.id,
        "Created": print_time(container.created),
        "Path": argv[0] if argv else "",
        "Args": argv[1:],
        "State": _state(state),
        "Image": container.image_id,
        "ResolvConfPath": str(directory / "files" / "resolv.conf"),
        "HostnamePath": str(directory / "files" / "hostname"),
        "HostsPath": str(directory / "files" / "hosts"),
        "LogPath": str(directory / "log") if container.host.log_driver != "none" else "",
        "Name": f"/{container.name}",
        "RestartCount": state.restarts,
        "Driver": "overlay2" if container.rootfs == "overlay" else "vfs",
        "Platform": "linux",
        "HostConfig": _host(container, Path(state.runtime).name or "runc"),
        "GraphDriver": {
            "Name": "overlay2" if container.rootfs == "overlay" else "vfs",
            "Data": {
                "LowerDir": ":".join(str(path) for path in rootfs.below),
                "UpperDir": str(rootfs.upper),
                "WorkDir": str(directory / "work"),
                "MergedDir": str(rootfs.path),
            },
        },
        "Mounts": [_mount(mount) for mount in container.host.mounts],
        "Config": _config(container),
        "NetworkSettings": {
            "Bridge": "",
            "Gateway": "",
            "IPAddress": "",
            "IPPrefixLen": 0,
            "MacAddress": "",
            "Ports": _ports(container, state),
            "Networks": {container.host.network: _network(container, state)},
        },
    }


def _ports(container: Container, state: State) -> dict[str, Any]:
    if state.status != "running":
        return {}
    return published(state.ports, container.process.exposed_ports)


def _network(container: Container, state: State) -> dict[str, Any]:
    gateway = address = ""
    if state.status == "running":
        # Here, since it loads sockets and processes, 6 ms that an image's document would wait for.
        from entrepot.containers.network import ADDRESS, GATEWAY, PROGRAMS

        if container.host.network in PROGRAMS:
            gateway, address = GATEWAY, ADDRESS
    return {
        "Gateway": gateway,
        "IPAddress": address,
        "IPPrefixLen": 24 if address else 0,
        "MacAddress": "",
    }


def _state(state: State) -> dict[str, Any]:
    return {
        "Status": state.status,
        "Running": state.is_up,
        "Paused": state.paused,
        "Restarting": state.status == "restarting",
        "OOMKilled": state.oom_killed,
        "Dead": False,
        "Pid": state.pid if state.status == "running" else 0,
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": _time(state.started),
        "FinishedAt": _time(state.finished),
    }


def _time(moment: datetime | None) -> str:
    return print_time(moment) if moment is not None else _NEVER


def _host(container: Container, runtime: str) -> dict[str, Any]:
    host = container.host
    binds = [
        f"{mount.name or mount.source}:{mount.target}{':ro' if mount.read_only else ''}"
        for mount in host.mounts
        if mount.kind in ("bind", "volume") and not mount.anonymous
    ]
    return {
        "Binds": binds or None,
        "LogConfig": {"Type": host.log_driver, "Config": {}},
        "NetworkMode": host.network,
        "PortBindings": wanted(host.ports),
        "PublishAllPorts": host.publish_all,
        "Dns": host.dns,
        "DnsOptions": [],
        "DnsSearch": host.dns_search,
        "IpcMode": host.ipc,
        "PidMode": "",
        "Runtime": runtime,
        "Init": host.init,
        "Devices": [
            {"PathOnHost": path, "PathInContainer": path, "CgroupPermissions": "rwm"} for path in host.devices
        ],
        "Sysctls": host.sysctls or None,
        "AutoRemove": host.auto_remove,
        "Privileged": host.privileged,
        "ReadonlyRootfs": host.read_only,
        "CapAdd": host.cap_add or None,
        "CapDrop": host.cap_drop or None,
        "SecurityOpt": ["no-new-privileges"] if host.no_new_privileges else None,
        "Memory": host.memory_bytes,
        "MemorySwap": host.memory_swap_bytes,
        "CpusetCpus": host.cpuset_cpus,
        "VolumesFrom": host.volumes_from or None,
        "NanoCpus": int(host.cpus * 1_000_000_000),
        "PidsLimit": host.pids_limit or None,
        "ShmSize": host.shm_bytes,
        "ExtraHosts": host.extra_hosts or None,
        "GroupAdd": host.group_add or None,
        "RestartPolicy": {"Name": host.restart, "MaximumRetryCount": host.restart_retries},
        "Tmpfs": {m.target: m.options for m in host.mounts if m.kind == "tmpfs"} or None,
        "Ulimits": [{"Name": name, "Soft": soft, "Hard": hard} for name, soft, hard in host.ulimits],
    }


def _mount(mount: Mount) -> dict[str, Any]:
    document: dict[str, Any] = {"Type": mount.kind}
    if mount.name:
        document["Name"] = mount.name
    document |= {"Source": mount.source, "Destination": mount.target}
    if mount.name:
        document["Driver"] = "local"
    propagation = mount.propagation if mount.kind == "bind" else ""
    return document | {"Mode": "", "RW": not mount.read_only, "Propagation": propagation}


def _config(container: Container) -> dict[str, Any]:
    process = container.process
    document: dict[str, Any] = {
        "Hostname": process.hostname,
        "Domainname": "",
        "User": process.user,
        "AttachStdin": process.attach and process.open_stdin,
        "AttachStdout": process.attach,
        "AttachStderr": process.attach,
        "Tty": process.tty,
        "OpenStdin": process.open_stdin,
        "StdinOnce": process.open_stdin,
        "Env": list(process.env),
        "Cmd": process.cmd,
        "Image": container.image,
        "Volumes": {volume: {} for volume in process.volumes} or None,
        "WorkingDir": process.working_dir,
        "Entrypoint": process.entrypoint,
        "OnBuild": process.onbuild,
        "Labels": dict(process.labels),
    }
    if process.exposed_ports:
        document["ExposedPorts"] = {port: {} for port in process.exposed_ports}
    optional = {
        "StopSignal": process.stop_signal,
        "StopTimeout": process.stop_timeout_s,
        "Healthcheck": process.healthcheck,
        "Shell": process.shell,
    }
    return document | {key: value for key, value in optional.items() if value}
