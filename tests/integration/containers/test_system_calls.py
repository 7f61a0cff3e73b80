"""What programs in a container may ask of the kernel: ordinary ones everything they need, others no way out.

Programs of this machine run in a container whose `/usr` is the machine's, read-only.
"""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from entrepot.containers.runtime import CANDIDATES
from tests.integration.containers.conftest import Box
from tests.support.programs import require_program

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

PYTHON = "/usr/bin/python3"
PROBE = r"""
import ctypes, errno, json, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *(ctypes.c_ulong(a & (1 << 64) - 1) for a in arguments))
    return "ok" if result >= 0 else errno.errorcode.get(ctypes.get_errno())

print(json.dumps({name: call(*words) for name, words in json.loads(sys.argv[1]).items()}))
"""
BAD = -1  # a pointer to nowhere: what seccomp lets through fails with EFAULT, EBADF or EINVAL in the kernel

# Numbers of x86_64.
CALLS: dict[str, tuple[tuple[int, ...], str]] = {
    "socket of a hypervisor": ((41, 40, 1, 0), "EPERM"),
    "socket of a hypervisor behind 32 bits": ((41, 1 << 32 | 40, 1, 0), "EPERM"),
    "socket of the kernel's cryptography": ((41, 38, 5, 0), "EPERM"),
    "socket of no family": ((41, 1000, 1, 0), "EPERM"),
    "unix socket": ((41, 1, 1, 0), "ok"),
    "internet socket": ((41, 2, 1, 0), "ok"),
    "internet socket, version 6": ((41, 10, 2, 0), "ok"),
    "netlink socket": ((41, 16, 3, 0), "ok"),
    "asking for the personality": ((135, 0xFFFFFFFF), "ok"),
    "the personality of linux": ((135, 0), "ok"),
    "the personality of an old linux": ((135, 0x20000), "ok"),
    "a personality without random addresses": ((135, 0x40000), "EPERM"),
    "a personality that reads and executes": ((135, 0x400000), "EPERM"),
    "a personality behind harmless flags": ((135, 0x60008), "EPERM"),
    "a personality of another system": ((135, 4), "EPERM"),
    "io_uring": ((425, 1, BAD), "EPERM"),
    "userfaultfd": ((323, 1), "EPERM"),
    "keyctl": ((250, 0, 0, 0), "EPERM"),
    "a new user namespace": ((272, 0x10000000), "EPERM"),
    "clone into a user namespace": ((56, 0x10000000 | 17, 0, 0, 0, 0), "EPERM"),
    "clone3": ((435, BAD, 88), "ENOSYS"),
    "mount": ((165, BAD, BAD, BAD, 0, 0), "EPERM"),
    "the new calls for mounts": ((430, BAD, 0), "EPERM"),
    "open_tree": ((428, -100, BAD, 1), "EPERM"),
    "open by handle": ((304, -100, BAD, 0), "EPERM"),
    "bpf": ((321, 0, BAD, 0), "EPERM"),
    "perf": ((298, BAD, 0, -1, -1, 0), "EPERM"),
    "the kernel's log": ((103, 3, BAD, 10), "EPERM"),
    "reboot": ((169, 0, 0, 0, 0), "EPERM"),
    "another kernel": ((246, 0, 0, BAD, 0), "EPERM"),
    "a clock that is everybody's": ((227, 0, BAD), "EPERM"),
    "a name for the machine": ((170, BAD, 4), "EPERM"),
    "a call of a kernel to come": ((900,), "ENOSYS"),
    "statx": ((332, -100, BAD, 0, 0, BAD), "EFAULT"),
    "faccessat2": ((439, -100, BAD, 0, 0), "EFAULT"),
    "openat2": ((437, -100, BAD, BAD, 24), "EFAULT"),
    "close_range": ((436, 900, 900, 0), "ok"),
    "pidfd_open": ((434, 1, 0), "ok"),
    "landlock, asked for its version": ((444, 0, 0, 1), "ok"),
    "rseq": ((334, 0, 0, 0, 0), "EINVAL"),
    "memfd_create": ((319, BAD, 0), "EFAULT"),
}
WITH_ADMIN = {
    "mount": "EFAULT",
    "the new calls for mounts": "EFAULT",
    "open_tree": "EFAULT",
    "clone3": "EFAULT",
    "a name for the machine": "EFAULT",
    "socket of a hypervisor": "EPERM",
    "io_uring": "EPERM",
    "a personality without random addresses": "EPERM",
    "open by handle": "EPERM",
}


def _tar_of_host() -> bytes:
    """Nothing but the places that `/usr` and a package manager need."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:

        def add(name: str, kind: bytes, link: str = "", data: bytes = b"", mode: int = 0o755) -> None:
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mode, info.size = kind, link, mode, len(data)
            tar.addfile(info, io.BytesIO(data))

        for name in ("bin", "sbin", "lib", "lib64"):
            add(name, tarfile.SYMTYPE, f"usr/{name}")
        for name in ("usr", "etc", "etc/apt", "var", "var/lib", "var/lib/dpkg", "var/lib/dpkg/info",
                     "var/lib/dpkg/updates", "var/lib/apt", "var/lib/apt/lists", "var/cache", "var/cache/apt",
                     "var/log", "repo", "root"):  # fmt: skip
            add(name, tarfile.DIRTYPE)
        add("tmp", tarfile.DIRTYPE, mode=0o1777)
        passwd = (
            b"root:x:0:0:root:/root:/bin/sh\n_apt:x:42:65534::/:/bin/false\nalice:x:1234:1234::/:/bin/sh\n"
        )
        files = {"passwd": passwd, "group": b"root:x:0:\nnogroup:x:65534:\n",
                 "apt/sources.list": b"deb [trusted=yes] file:/repo ./\n"}  # fmt: skip
        for name, data in files.items():
            add(f"etc/{name}", tarfile.REGTYPE, data=data, mode=0o644)
        add("var/lib/dpkg/status", tarfile.REGTYPE, mode=0o644)
    return out.getvalue()


@pytest.fixture(params=CANDIDATES)
def host_box(box: Box, request: pytest.FixtureRequest) -> Box:
    """A store with `host:1`, whose programs are this machine's; for each of the runtimes."""
    runtime = str(request.param)
    require_program(runtime)
    if runtime == "crun" and Path("/sys/fs/cgroup/unified/cgroup.procs").exists():
        pytest.skip("crun takes no mixture of control groups")
    (box.home / "runtime").write_text(runtime)
    (box.home / "host.tar").write_bytes(_tar_of_host())
    box.run("import", "host.tar", "host:1")
    return box


def on_host(box: Box, *words: str, options: tuple[str, ...] = ()) -> str:
    """What a program of this machine prints in a container."""
    runtime = (box.home / "runtime").read_text()
    argv = ["run", "--rm", "-v", "/usr:/usr:ro", *options, "host:1", *words]
    return box.output(*argv, env={"ENTREPOT_RUNTIME": runtime})


def answers(box: Box, *options: str, only: Iterable[str] = CALLS) -> dict[str, str]:
    wanted = json.dumps({name: CALLS[name][0] for name in only})
    return dict(json.loads(on_host(box, PYTHON, "-c", PROBE, wanted, options=options)))


def _needs_x86() -> None:
    import platform

    if platform.machine() != "x86_64":
        pytest.skip("the numbers are those of x86_64")


def test_calls_that_lead_out_of_a_container_are_refused(host_box: Box) -> None:
    _needs_x86()
    assert answers(host_box) == {name: answer for name, (_, answer) in CALLS.items()}


def test_a_capability_brings_its_calls(host_box: Box) -> None:
    _needs_x86()
    assert answers(host_box, "--cap-add", "SYS_ADMIN", only=WITH_ADMIN) == WITH_ADMIN
    log = "the kernel's log"
    assert answers(host_box, "--cap-add", "SYSLOG", only=[log])[log] != "EPERM"


def test_unconfined_lifts_all_of_it(host_box: Box) -> None:
    _needs_x86()
    found = answers(host_box, "--security-opt", "seccomp=unconfined")
    assert found["a personality without random addresses"] == "ok"
    assert found["userfaultfd"] == "ok"
    assert found["clone3"] != "ENOSYS"


def test_languages_run(host_box: Box) -> None:
    """Threads, processes, sockets, timers and what their libraries try at the start."""
    script = (
        "import asyncio, concurrent.futures as f, json, os, socket, sqlite3, ssl\n"
        "import subprocess, tempfile\n"
        "with f.ThreadPoolExecutor(4) as p: print(sum(p.map(len, ['ab'] * 50)))\n"
        "print(subprocess.check_output(['/bin/sh', '-c', 'echo sub'], text=True).strip())\n"
        "a, b = socket.socketpair(); a.send(b'x'); print(b.recv(1))\n"
        "s = socket.create_server(('127.0.0.1', 0)); socket.create_connection(s.getsockname())\n"
        "print('tcp')\n"
        "asyncio.run(asyncio.sleep(0.001)); sqlite3.connect('/tmp/x.db').execute('create table t(a)')\n"
        "os.replace(tempfile.NamedTemporaryFile(delete=False).name, '/tmp/y'); print('files')\n"
    )
    lines = ["100", "sub", "b'x'", "tcp", "files"]
    assert on_host(host_box, PYTHON, "-c", script).splitlines() == lines
    assert on_host(host_box, PYTHON, "-c", script, options=("-u", "alice")).splitlines() == lines
    if Path("/usr/bin/node").exists():
        script = ("const {Worker} = require('worker_threads'); const fs = require('fs');"
                  "fs.writeFileSync('/tmp/a', 'x'); fs.copyFileSync('/tmp/a', '/tmp/b');"
                  "require('child_process').execSync('true'); "
                  "require('net').createServer().listen(0, function () {"
                  "this.close();"
                  "new Worker('require(\"worker_threads\").parentPort.postMessage(7)', {eval: true})"
                  ".on('message', m => console.log(m)) })")  # fmt: skip
        assert on_host(host_box, "/usr/bin/node", "-e", script) == "7"
    if Path("/usr/bin/perl").exists():
        assert on_host(host_box, "/usr/bin/perl", "-e", "print fork() // 'no' ? (wait, 'ok')[1] : ''") == "ok"


def test_packages_are_installed(host_box: Box, tmp_path: Path) -> None:
    """apt gives up root for its downloads and dpkg changes owners and syncs."""
    require_program("apt-get")
    folder = tmp_path / "deb"
    (folder / "DEBIAN").mkdir(parents=True)
    (folder / "opt").mkdir()
    (folder / "opt/tiny").write_text("installed\n")
    (folder / "DEBIAN/control").write_text(
        "Package: tiny\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\nDescription: tiny\n"
    )
    repo = tmp_path / "repo"
    repo.mkdir()
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", folder, repo / "tiny.deb"], check=True,
                   capture_output=True)  # fmt: skip
    data = (repo / "tiny.deb").read_bytes()
    (repo / "Packages").write_text(
        (folder / "DEBIAN/control").read_text()
        + f"Filename: ./tiny.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n\n"
    )
    script = (
        "mkdir -p /var/cache/apt/archives/partial /var/lib/apt/lists/partial /etc/apt/apt.conf.d /etc/dpkg"
        " && apt-get -qq update && apt-get -qq install -y --no-install-recommends tiny >/tmp/out 2>&1"
        " || { cat /tmp/out; exit 1; }; cat /opt/tiny; dpkg -s tiny | grep Status"
    )
    found = on_host(host_box, "sh", "-c", script, options=("-v", f"{repo}:/repo:ro"))
    assert found.splitlines()[-2:] == ["installed", "Status: install ok installed"]
