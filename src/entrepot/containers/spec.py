"""From a container to the OCI runtime's config.json. Pure: everything it needs is handed in.

The defaults are docker's: capabilities, masked and read-only paths, /dev, rlimits. runtime-spec: config.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from entrepot.containers.errors import InvalidOption, NoCommand
from entrepot.containers.records import Container, Mount
from entrepot.containers.seccomp import default_seccomp
from entrepot.containers.users import User

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

DEFAULT_CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW", "CAP_SETGID",
    "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE", "CAP_SYS_CHROOT", "CAP_KILL",
    "CAP_AUDIT_WRITE",
)  # fmt: skip

ALL_CAPABILITIES = (
    *DEFAULT_CAPABILITIES,
    "CAP_DAC_READ_SEARCH", "CAP_LINUX_IMMUTABLE", "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_IPC_LOCK",
    "CAP_IPC_OWNER", "CAP_SYS_MODULE", "CAP_SYS_RAWIO", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT", "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_LEASE",
    "CAP_AUDIT_CONTROL", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG", "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF", "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip

MASKED_PATHS = (
    "/proc/asound", "/proc/acpi", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
    "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/proc/scsi", "/sys/firmware",
    "/sys/devices/virtual/powercap",
)  # fmt: skip
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")

_DEVICES = (
    # type, major, minor, access: what the cgroup lets in (runtime-spec: Device allow list; docker's list)
    ("c", None, None, "m"), ("b", None, None, "m"), ("c", 1, 3, "rwm"), ("c", 1, 5, "rwm"),
    ("c", 1, 7, "rwm"), ("c", 1, 8, "rwm"), ("c", 1, 9, "rwm"), ("c", 5, 0, "rwm"),
    ("c", 5, 1, "rwm"), ("c", 5, 2, "rwm"),
    ("c", 136, None, "rwm"),
)  # fmt: skip


class Surroundings(Struct, frozen=True):
    """What the spec needs to know of this machine and this container's directory."""

    rootfs: str
    files: str
    """Directory with `hostname`, `hosts` and `resolv.conf`."""
    rootless: bool
    """In a user namespace: no cgroups, no device nodes."""
    cgroup_v2: bool
    capabilities: frozenset[str]
    """What this process may hand out."""
    host_devices: Sequence[Mapping[str, Any]] = ()
    """`--device` and `--privileged`, looked up."""
    init_path: str | None = None
    throttling: Sequence[str] = ()
    """Files that tell how hot each processor is, so what its neighbours compute: masked, too."""
    groups: bool = True
    """Processes may be in further groups; not where a namespace holds a single id."""


def command_of(container: Container) -> list[str]:
    """Entrypoint and command. Raises NoCommand."""
    if not container.argv or not container.argv[0]:
        raise NoCommand
    return container.argv


def environment(container: Container) -> list[str]:
    """docker's own variables, replaced and followed by the container's. `NAME` without `=` removes."""
    own = [DEFAULT_PATH, f"HOSTNAME={container.process.hostname}"]
    if container.process.tty:
        own.append("TERM=xterm")
    return merged_environment(own, container.process.env)


def merged_environment(base: Sequence[str], changes: Sequence[str]) -> list[str]:
    """`base` with variables of the same name replaced in place, and the others added."""
    result = list(base)
    places = {item.partition("=")[0]: index for index, item in enumerate(result)}
    for item in changes:
        name, equals, _ = item.partition("=")
        if name in places:
            result[places[name]] = item if equals else ""
        elif equals:
            places[name] = len(result)
            result.append(item)
    return [item for item in result if item]


def capabilities_of(
    add: Sequence[str], drop: Sequence[str], *, privileged: bool, available: frozenset[str]
) -> list[str]:
    """docker's set changed by `--cap-add` and `--cap-drop`. Raises InvalidOption for unknown names."""
    everything = [name for name in ALL_CAPABILITIES if name in available]
    if privileged:
        return everything
    adding, dropping = [_capability(name) for name in add], [_capability(name) for name in drop]
    base = everything if "ALL" in adding else [name for name in DEFAULT_CAPABILITIES if name in available]
    if "ALL" in dropping:
        base = []
    chosen = [name for name in base if name not in dropping]
    chosen += [name for name in adding if name != "ALL" and name not in chosen and name in available]
    return chosen


def _capability(name: str) -> str:
    upper = name.upper()
    if upper == "ALL":
        return upper
    full = upper if upper.startswith("CAP_") else f"CAP_{upper}"
    if full not in ALL_CAPABILITIES:
        raise InvalidOption(f'invalid capability: unknown capability to add or drop: "{name}"')
    return full


def build_spec(container: Container, user: User, around: Surroundings) -> dict[str, Any]:
    """config.json. Raises NoCommand, InvalidOption."""
    host = container.host
    capabilities = capabilities_of(
        host.cap_add, host.cap_drop, privileged=host.privileged, available=around.capabilities
    )
    argv = command_of(container)
    if host.init and around.init_path:
        argv = ["/sbin/docker-init", "--", *argv]
    process: dict[str, Any] = {
        "terminal": container.process.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": _groups(user, around)},
        "args": argv,
        "env": environment(container),
        "cwd": container.process.working_dir or "/",
        "capabilities": process_capabilities(capabilities, user),
        "noNewPrivileges": host.no_new_privileges,
    }
    if host.ulimits:
        process["rlimits"] = [
            {"type": f"RLIMIT_{name.upper()}", "soft": soft, "hard": hard}
            for name, soft, hard in host.ulimits
        ]
    return {
        "ociVersion": "1.0.2",
        "process": process,
        "root": {"path": around.rootfs, "readonly": host.read_only},
        "hostname": container.process.hostname,
        "mounts": _mounts(container, around),
        "annotations": {},
        "linux": _linux(container, around, capabilities),
    }


def process_capabilities(names: list[str], user: User) -> dict[str, list[str]]:
    """Only root gets them at once; others may by setuid programs."""
    held = names if user.uid == 0 else []
    return {"bounding": names, "effective": held, "permitted": held, "inheritable": [], "ambient": []}


def _groups(user: User, around: Surroundings) -> list[int]:
    return list(user.groups) if around.groups else []


def _mounts(container: Container, around: Surroundings) -> list[dict[str, Any]]:
    host = container.host
    pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]
    mounts = [
        _mount("/proc", "proc", "proc", ["nosuid", "noexec", "nodev"]),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount("/dev/pts", "devpts", "devpts", pts if around.rootless else [*pts, "gid=5"]),
        _sys(container, around),
        *_ipc_mounts(container, around),
    ]
    if not around.rootless:
        access = "rw" if host.privileged else "ro"
        mounts.insert(4, _mount("/sys/fs/cgroup", "cgroup", "cgroup", [access, "nosuid", "noexec", "nodev"]))
    covered = {mount.target for mount in host.mounts}
    mounts += [
        _bind(f"{around.files}/{name}", f"/etc/{name}", ["rbind", "rprivate"])
        for name in ("resolv.conf", "hostname", "hosts")
        if f"/etc/{name}" not in covered
    ]
    if host.init and around.init_path:
        mounts.append(_bind(around.init_path, "/sbin/docker-init", ["bind", "ro"]))
    # Parents before what is mounted inside of them.
    mounts += [_user_mount(mount) for mount in sorted(host.mounts, key=lambda m: m.target.count("/"))]
    return mounts


def _ipc_mounts(container: Container, around: Surroundings) -> list[dict[str, Any]]:
    host = container.host
    flags = ["nosuid", "noexec", "nodev"]
    mounts = []
    if host.ipc != "host" or not around.rootless:
        # It can only be mounted by who owns the IPC namespace; queues work without.
        mounts.append(_mount("/dev/mqueue", "mqueue", "mqueue", flags))
    shm = "/dev/shm"  # noqa: S108 - the name in the container
    if host.ipc == "host":
        mounts.append(_bind(shm, shm, ["rbind", "rprivate", *flags]))
    elif host.ipc == "private":
        mounts.append(_mount(shm, "tmpfs", "shm", [*flags, "mode=1777", f"size={host.shm_bytes}"]))
    return mounts


def _sys(container: Container, around: Surroundings) -> dict[str, Any]:
    if around.rootless and container.host.network == "host":
        # sysfs can only be mounted by who owns the network namespace.
        return _bind("/sys", "/sys", ["rbind", "ro", "nosuid", "noexec", "nodev"], kind="none")
    access = "rw" if container.host.privileged else "ro"
    return _mount("/sys", "sysfs", "sysfs", ["nosuid", "noexec", "nodev", access])


def _mount(destination: str, kind: str, source: str, options: list[str]) -> dict[str, Any]:
    return {"destination": destination, "type": kind, "source": source, "options": options}


def _bind(source: str, destination: str, options: list[str], *, kind: str = "bind") -> dict[str, Any]:
    return _mount(destination, kind, source, options)


def _user_mount(mount: Mount) -> dict[str, Any]:
    if mount.kind == "tmpfs":
        options = ["nosuid", "nodev", "noexec", *(option for option in mount.options.split(",") if option)]
        return _mount(mount.target, "tmpfs", "tmpfs", options)
    access = ["ro"] if mount.read_only else []
    return _bind(mount.source, mount.target, ["rbind", mount.propagation, *access])


def _linux(container: Container, around: Surroundings, capabilities: Sequence[str]) -> dict[str, Any]:
    host = container.host
    namespaces = [{"type": "mount"}, {"type": "uts"}, {"type": "pid"}]
    if host.ipc != "host":
        namespaces.append({"type": "ipc"})
    if host.network != "host":
        namespaces.append({"type": "network"})
    if around.cgroup_v2 and not host.privileged and not around.rootless:
        namespaces.append({"type": "cgroup"})
    linux: dict[str, Any] = {"namespaces": namespaces}
    if not around.rootless:
        linux["cgroupsPath"] = f"/entrepot/{container.id}"
        linux["resources"] = _resources(container, around)
    if around.host_devices:
        linux["devices"] = list(around.host_devices)
    if host.sysctls:
        linux["sysctl"] = dict(host.sysctls)
    if not host.privileged:
        if not host.unmasked:
            linux["maskedPaths"] = [*MASKED_PATHS, *around.throttling]
            linux["readonlyPaths"] = list(READONLY_PATHS)
        if host.seccomp == "default":
            linux["seccomp"] = default_seccomp(capabilities)
        elif host.seccomp != "unconfined":
            import msgspec

            linux["seccomp"] = msgspec.json.decode(host.seccomp)
    return linux


def _resources(container: Container, around: Surroundings) -> dict[str, Any]:
    host = container.host
    resources: dict[str, Any] = {}
    if host.privileged:
        resources["devices"] = [{"allow": True, "access": "rwm"}]
    else:
        resources["devices"] = [{"allow": False, "access": "rwm"}]
        for kind, major, minor, access in _DEVICES:
            rule: dict[str, Any] = {"allow": True, "type": kind, "access": access}
            if major is not None:
                rule["major"] = major
            if minor is not None:
                rule["minor"] = minor
            resources["devices"].append(rule)
        resources["devices"] += [
            {"allow": True, "type": d["type"], "major": d["major"], "minor": d["minor"], "access": "rwm"}
            for d in around.host_devices
        ]
    if host.memory_bytes:
        resources["memory"] = {"limit": host.memory_bytes}
        if host.memory_swap_bytes:
            resources["memory"]["swap"] = host.memory_swap_bytes
    cpu: dict[str, Any] = {}
    if host.cpus:
        cpu |= {"quota": int(host.cpus * 100_000), "period": 100_000}
    if host.cpuset_cpus:
        cpu["cpus"] = host.cpuset_cpus
    if cpu:
        resources["cpu"] = cpu
    if host.pids_limit:
        resources["pids"] = {"limit": host.pids_limit}
    return resources
