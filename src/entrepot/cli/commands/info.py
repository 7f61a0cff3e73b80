"""`entrepot info`."""

from __future__ import annotations

import os
import platform
from typing import Any

import click

from entrepot.cli.options import format_option, open_store
from entrepot.cli.output import write


@click.command("info", short_help="Display system-wide information")
@format_option("'json', or a Go template such as '{{.DockerRootDir}}'")
def info(format_: str | None) -> None:
    """Where images and containers are, how many, and what runs containers here."""
    from entrepot.cli.templates import render, to_json

    document = _document()
    if format_ == "json":
        write(to_json(document))
    elif format_:
        write(render(format_, document))
    else:
        _print(document)


def _document() -> dict[str, Any]:
    """docker's names for what is known of the store and the machine."""
    from entrepot.actions.ps import list_containers
    from entrepot.cli.commands.version import about
    from entrepot.containers.processes import memory_of_machine
    from entrepot.containers.runtime import find_runtime, has_cgroup_v2
    from entrepot.errors import EntrepotError

    store = open_store()
    states = [item.state for item in list_containers(all_containers=True, store=store)]
    running = [state for state in states if state.status == "running"]
    paused = sum(state.paused for state in running)
    try:
        runtime = find_runtime().name
    except EntrepotError:
        runtime = ""
    own = about()
    return {
        "Containers": len(states),
        "ContainersRunning": len(running) - paused,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - len(running),
        "Images": len(store.list()),
        "ServerVersion": own["Version"],
        "Driver": "overlay2",
        "DefaultRuntime": runtime,
        "CgroupVersion": "2" if has_cgroup_v2() else "1",
        "DockerRootDir": str(store.root.absolute()),
        "KernelVersion": own["KernelVersion"],
        "OperatingSystem": _operating_system(),
        "OSType": own["Os"],
        "Architecture": platform.machine(),
        "NCPU": os.cpu_count() or 1,
        "MemTotal": memory_of_machine(),
        "Name": platform.node(),
        "SecurityOptions": ["name=seccomp,profile=builtin", *(["name=rootless"] if os.geteuid() else [])],
    }


def _operating_system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _print(document: dict[str, Any]) -> None:
    from entrepot.cli.commands.stats import binary_size

    write(f"Containers: {document['Containers']}")
    write(f" Running: {document['ContainersRunning']}")
    write(f" Paused: {document['ContainersPaused']}")
    write(f" Stopped: {document['ContainersStopped']}")
    write(f"Images: {document['Images']}")
    write(f"Server Version: {document['ServerVersion']}")
    write(f"Default Runtime: {document['DefaultRuntime'] or 'none installed: containers cannot run'}")
    write(f"Cgroup Version: {document['CgroupVersion']}")
    write(f"Kernel Version: {document['KernelVersion']}")
    write(f"Operating System: {document['OperatingSystem']}")
    write(f"OSType: {document['OSType']}")
    write(f"Architecture: {document['Architecture']}")
    write(f"CPUs: {document['NCPU']}")
    write(f"Total Memory: {binary_size(document['MemTotal'])}")
    write(f"Name: {document['Name']}")
    write(f"Store: {document['DockerRootDir']}")
