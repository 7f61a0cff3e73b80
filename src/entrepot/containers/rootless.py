"""Containers without root: a user namespace in which this user is root.

With `newuidmap` and ranges in /etc/subuid and /etc/subgid, 65,536 ids are mapped and files get real owners.
Without, the
namespace holds a single id: everything belongs to this user, and other owners are written down
(`layers.ownership`).
Mounts live in the namespace's own mount namespace, so commands that look into a running container join its
monitor's.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from entrepot.containers.errors import NoRuntime
from entrepot.containers.mounts import MS_PRIVATE, MS_REC, mount, setns, unshare

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000


def is_inside() -> bool:
    """Whether this process is in a user namespace."""
    try:
        return Path("/proc/self/uid_map").read_text().split() != ["0", "0", "4294967295"]
    except OSError:
        return False


def may_set_groups() -> bool:
    """Whether processes can be put into further groups here."""
    try:
        return Path("/proc/self/setgroups").read_text().strip() != "deny"
    except OSError:
        return True


def enter_new() -> None:
    """Go on in a new user and mount namespace, as root of it.

    This process forks: the caller's side waits, passes signals on and exits with the other's code, so only
    the child
    returns. Call it early: threads do not survive. Raises NoRuntime when the kernel does not allow it.
    """
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ready_read)
        os.close(go_write)
        _become_root(ready_write, go_read)
        return
    os.close(ready_write)
    os.close(go_read)
    told = os.read(ready_read, 1)
    if told != b"u":
        os.waitpid(child, 0)
        raise NoRuntime(
            "containers need root, or a kernel that lets users make user namespaces",
            hint="run it as root, or allow user namespaces (sysctl user.max_user_namespaces)",
        )
    _write_maps(child)
    os.write(go_write, b"g")
    _stay_behind(child)


def enter_monitors(pid: int) -> bool:
    """Go on in the namespaces of a running container's monitor; False when that cannot be done.

    Forks like `enter_new`; only the child returns True.
    """
    try:
        user = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        mounts = os.open(f"/proc/{pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    child = os.fork()
    if child:
        os.close(user)
        os.close(mounts)
        _stay_behind(child)
    try:
        setns(user, CLONE_NEWUSER)
        setns(mounts, CLONE_NEWNS)
        with contextlib.suppress(OSError):
            os.setgid(0)
        os.setuid(0)
    except OSError:
        os._exit(125)
    return True


def _become_root(ready: int, go: int) -> None:
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
    except OSError:
        os.write(ready, b"n")
        os._exit(1)
    os.write(ready, b"u")
    if os.read(go, 1) != b"g":
        os._exit(1)
    os.close(ready)
    os.close(go)
    with contextlib.suppress(OSError):
        os.setgid(0)
    os.setuid(0)
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def _write_maps(child: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    ranges = _sub_ranges("/etc/subuid"), _sub_ranges("/etc/subgid")
    tools = shutil.which("newuidmap"), shutil.which("newgidmap")
    if all(ranges) and all(tools) and os.environ.get("ENTREPOT_SINGLE_ID") is None:
        done = [
            subprocess.run([str(tool), str(child), *_map_words(own, found)], capture_output=True, check=False)
            for tool, own, found in zip(tools, (uid, gid), ranges, strict=True)
        ]
        if all(one.returncode == 0 for one in done):
            return
    with contextlib.suppress(OSError):
        Path(f"/proc/{child}/setgroups").write_text("deny")
    for name, own in (("gid_map", gid), ("uid_map", uid)):
        # Already written when newuidmap did its part and newgidmap did not.
        with contextlib.suppress(OSError):
            Path(f"/proc/{child}/{name}").write_text(f"0 {own} 1")


def _map_words(own: int, ranges: list[tuple[int, int]]) -> list[str]:
    words = ["0", str(own), "1"]
    inside = 1
    for start, count in ranges:
        words += [str(inside), str(start), str(count)]
        inside += count
    return words


def _sub_ranges(path: str) -> list[tuple[int, int]]:
    """This user's ranges of subordinate ids."""
    names = {str(os.getuid())}
    with contextlib.suppress(Exception):
        names.add(pwd.getpwuid(os.getuid()).pw_name)
    ranges = []
    with contextlib.suppress(OSError, ValueError):
        for line in Path(path).read_text().splitlines():
            fields = line.split(":")
            if len(fields) == 3 and fields[0] in names:
                ranges.append((int(fields[1]), int(fields[2])))
    return ranges


def _stay_behind(child: int) -> None:
    """Wait for the process that went on, pass signals to it, end as it ends."""

    def forward(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, forward)
    # The terminal sends these to the whole process group; the child has them already.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    while True:
        try:
            _, status = os.waitpid(child, 0)
            break
        except InterruptedError:
            continue
    code = os.waitstatus_to_exitcode(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if code >= 0 else 128 - code)
