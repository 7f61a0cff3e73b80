"""What a container was asked for, as its record keeps it and its runtime needs it: limits, devices, init."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from entrepot.containers.errors import (
    InvalidOption,
)
from entrepot.containers.options import CreateOptions
from entrepot.containers.records import (
    HostConfig,
    Mount,
)


def host_config(options: CreateOptions, mounts: list[Mount], network: str) -> HostConfig:
    """Raises InvalidOption."""
    seccomp, unmasked, no_new_privileges = "default", False, False
    for item in options.security:
        key, _, value = item.replace(":", "=", 1).partition("=")
        if key == "no-new-privileges":
            no_new_privileges = value in ("", "true")
        elif key == "seccomp":
            seccomp = value if value == "unconfined" else _seccomp_file(value)
        elif item == "systempaths=unconfined":
            unmasked = True
        elif key not in ("apparmor", "label"):
            raise InvalidOption(f'invalid --security-opt 2: "{item}"')
    return HostConfig(
        network=network,
        ports=list(options.ports),
        publish_all=options.publish_all,
        dns=list(options.dns),
        dns_search=list(options.dns_search),
        mounts=mounts,
        auto_remove=options.auto_remove,
        restart=options.restart[0],
        restart_retries=options.restart[1],
        privileged=options.privileged,
        read_only=options.read_only,
        init=options.init,
        cap_add=list(options.cap_add),
        cap_drop=list(options.cap_drop),
        no_new_privileges=no_new_privileges,
        seccomp=seccomp,
        unmasked=unmasked,
        memory_bytes=options.memory_bytes,
        memory_swap_bytes=options.memory_swap_bytes,
        cpus=options.cpus,
        cpuset_cpus=options.cpuset_cpus,
        log_driver=options.log_driver,
        volumes_from=list(options.volumes_from),
        pids_limit=options.pids_limit,
        shm_bytes=options.shm_bytes,
        ipc=options.ipc,
        ulimits=list(options.ulimits),
        extra_hosts=list(options.extra_hosts),
        group_add=list(options.group_add),
        devices=list(options.devices),
        sysctls=dict(options.sysctls),
    )


def _seccomp_file(path: str) -> str:
    try:
        text = Path(path).read_text()
        msgspec.json.decode(text, type=dict[str, Any])
    except (OSError, msgspec.MsgspecError) as error:
        raise InvalidOption(f"opening seccomp profile ({path}) failed: {error}") from error
    return text


_INIT_PROGRAMS = ("docker-init", "tini-static", "tini", "catatonit")


def init_program() -> str:
    """A program that collects ended processes and passes signals on, for `--init`. Raises InvalidOption."""
    for name in _INIT_PROGRAMS:
        found = shutil.which(
            name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/libexec/podman:/usr/libexec/docker"
        )
        if found:
            return found
    raise InvalidOption(
        "--init needs a small init program on the host, and none is installed",
        hint="install tini or catatonit (on Debian: apt-get install tini)",
    )


def host_devices(host: HostConfig) -> list[Mapping[str, Any]]:
    """Raises InvalidOption."""
    found: list[Mapping[str, Any]] = []
    if host.privileged:
        names = [str(path) for path in Path("/dev").iterdir() if not path.is_symlink()]
        pairs = [(name, name) for name in sorted(names)]
    else:
        pairs = []
        for item in host.devices:
            parts = item.split(":")
            pairs.append((parts[0], parts[1] if len(parts) > 1 and parts[1].startswith("/") else parts[0]))
    for source, target in pairs:
        try:
            status = os.stat(source)  # noqa: PTH116 - one call for all it tells
        except OSError as error:
            if host.privileged:
                continue
            raise InvalidOption(
                f'error gathering device information while adding custom device "{source}": '
                "no such file or directory"
            ) from error
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            found.append(
                {
                    "path": target,
                    "type": "c" if stat.S_ISCHR(status.st_mode) else "b",
                    "major": os.major(status.st_rdev),
                    "minor": os.minor(status.st_rdev),
                    "fileMode": stat.S_IMODE(status.st_mode),
                    "uid": status.st_uid,
                    "gid": status.st_gid,
                }
            )
    return found


# Talking to a monitor.
