"""The OCI runtime: crun where it works, else runc.

runtime-spec: Runtime and Lifecycle. The runtime's own state lives in the container's directory, so it cannot
outlive
the container or be mistaken for another's.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from entrepot.containers.errors import NoRuntime, RuntimeFailed

CANDIDATES = ("crun", "runc")
_ADMIN_FOLDERS = ("/usr/local/sbin", "/usr/sbin", "/sbin")


_CGROUPS = Path("/sys/fs/cgroup")


class Runtime(Struct, frozen=True):
    """One runtime program."""

    path: str
    rootless: bool = False

    @property
    def name(self) -> str:
        return os.path.basename(self.path)  # noqa: PTH119 - a name is wanted, not a path

    def argv(self, state: Path, *arguments: str) -> list[str]:
        """A command line whose state is below `state`."""
        return [self.path, "--root", str(state), *arguments]

    def call(self, state: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run to the end, output captured. Raises RuntimeFailed with what it said."""
        done = subprocess.run(
            self.argv(state, *arguments), capture_output=True, text=True, errors="replace", check=False
        )
        if check and done.returncode:
            raise RuntimeFailed(f"{self.name} {arguments[0]} failed: {_last_line(done.stderr)}")
        return done

    def delete(self, state: Path, container_id: str) -> None:
        """Forget a container, killing what is left of it. Missing is fine."""
        if (state / container_id).exists():
            self.call(state, "delete", "--force", container_id, check=False)

    def forget(self, state: Path, container_id: str) -> None:
        """Forget a container whose first process, and with it its process namespace, has ended.

        Nothing but empty control groups is left then, and removing those takes no program. Where they are
        elsewhere, or are not empty, the runtime is asked.
        """
        groups = list(_CGROUPS.glob(f"*/entrepot/{container_id}"))
        groups += [path for path in (_CGROUPS / "entrepot" / container_id,) if path.is_dir()]
        try:
            for group in groups:
                group.rmdir()
        except OSError:
            groups = []
        if not groups and not self.rootless:
            self.delete(state, container_id)


def find_runtime(wanted: str | None = None, *, environ: Mapping[str, str] = os.environ) -> Runtime:
    """The runtime to use: the one asked for by name or path (or by ENTREPOT_RUNTIME), else the first that
    works here.

    Raises NoRuntime.
    """
    rootless = _is_rootless()
    name = wanted or environ.get("ENTREPOT_RUNTIME")
    if name:
        path = _which(name, environ)
        if path is None:
            raise NoRuntime(f"container runtime {name} is not installed", hint=_HINT)
        return Runtime(path, rootless)
    found = [path for path in (_which(candidate, environ) for candidate in CANDIDATES) if path]
    if not found:
        raise NoRuntime("no container runtime is installed: neither crun nor runc was found", hint=_HINT)
    if has_hybrid_cgroups() and len(found) > 1:
        # crun wants cgroups of one version; runc takes the mixture.
        found.reverse()
    return Runtime(found[0], rootless)


_HINT = "install crun or runc (on Debian: apt-get install crun), or set ENTREPOT_RUNTIME to one"


def _which(name: str, environ: Mapping[str, str]) -> str | None:
    folders = [*environ.get("PATH", os.defpath).split(os.pathsep), *_ADMIN_FOLDERS]
    return shutil.which(name, path=os.pathsep.join(folders))


def has_hybrid_cgroups(root: Path = Path("/sys/fs/cgroup")) -> bool:
    """Whether controllers are split between cgroup v1 and v2."""
    return (root / "unified" / "cgroup.procs").exists() and not (root / "cgroup.procs").exists()


def has_cgroup_v2(root: Path = Path("/sys/fs/cgroup")) -> bool:
    """Whether all controllers are in one v2 tree."""
    return (root / "cgroup.controllers").exists()


def _is_rootless() -> bool:
    if os.geteuid() != 0:
        return True
    with contextlib.suppress(OSError):
        return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
    return False


def failure_from_log(runtime: str, log: Path, output: str) -> RuntimeFailed:
    """Why a container did not start, in docker's words, with the exit code `docker run` would have."""
    message = ""
    with contextlib.suppress(OSError):
        for line in log.read_text(errors="replace").splitlines():
            with contextlib.suppress(msgspec.MsgspecError):
                record = msgspec.json.decode(line, type=dict[str, object])
                if record.get("level") in ("error", "fatal", None):
                    message = str(record.get("msg", message))
    message = message or _last_line(output) or "it did not say why"
    message = message.removeprefix("runc run failed: ").removeprefix("runc create failed: ")
    prefix = (
        "failed to create task for container: failed to create shim task: OCI runtime create failed: "
        f"{runtime} create failed: "
    )
    return RuntimeFailed(f"{prefix}{message}: unknown", exit_code=start_exit_code(message))


def start_exit_code(message: str) -> int:
    """docker's: 127 for a program that is not there, 126 for one that cannot be run, else 125."""
    text = message.lower()
    if "executable file" in text or "no such file or directory" in text:
        return 127
    if any(
        part in text for part in ("permission denied", "is a directory", "not a directory", "exec format")
    ):
        return 126
    return 125


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def host_capabilities() -> frozenset[str]:
    """The capabilities that this process may hand to a container."""
    from entrepot.containers.spec import ALL_CAPABILITIES

    numbers = {name: number for number, name in enumerate(_NUMBERED)}
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        line = next(line for line in lines if line.startswith("CapBnd:"))
        held = int(line.split()[1], 16)
        return frozenset(name for name in ALL_CAPABILITIES if held & (1 << numbers[name]))
    return frozenset(ALL_CAPABILITIES)


_NUMBERED: Sequence[str] = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH", "CAP_FOWNER", "CAP_FSETID", "CAP_KILL",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETPCAP", "CAP_LINUX_IMMUTABLE", "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST", "CAP_NET_ADMIN", "CAP_NET_RAW", "CAP_IPC_LOCK", "CAP_IPC_OWNER", "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO", "CAP_SYS_CHROOT", "CAP_SYS_PTRACE", "CAP_SYS_PACCT", "CAP_SYS_ADMIN", "CAP_SYS_BOOT",
    "CAP_SYS_NICE", "CAP_SYS_RESOURCE", "CAP_SYS_TIME", "CAP_SYS_TTY_CONFIG", "CAP_MKNOD", "CAP_LEASE",
    "CAP_AUDIT_WRITE", "CAP_AUDIT_CONTROL", "CAP_SETFCAP", "CAP_MAC_OVERRIDE", "CAP_MAC_ADMIN", "CAP_SYSLOG",
    "CAP_WAKE_ALARM", "CAP_BLOCK_SUSPEND", "CAP_AUDIT_READ", "CAP_PERFMON", "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
)  # fmt: skip
