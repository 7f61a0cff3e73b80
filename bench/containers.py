"""Containers beside docker, podman and umoci: pull and unpack, unpack alone, run, commit, export, memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from bench.frame import Bench, Figure, Row
from bench.load import Pusher
from bench.tool import _push_rootfs, _timed
from tests.support import dockerd as docker_daemon
from tests.support.images import Image, debootstrap_root, image
from tests.support.processes import started
from tests.support.programs import require_program
from tests.support.server import ENTREPOT, RunningServer, clean_env, running_server

_SMALL_LIMITS = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")
"""podman asks for more than a machine without CAP_SYS_RESOURCE gives."""


def _tool(store: Path, *words: str) -> list[str]:
    return [ENTREPOT, "--store", str(store), *words]


_LAUNCHER = (
    "import resource, subprocess, sys; "
    "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def _peak_mib(argv: list[str]) -> float:
    """The highest resident size of a command, MiB. A process begins with its parent's, so a small one starts
    it."""
    done = subprocess.run(
        [sys.executable, "-c", _LAUNCHER, *argv], env=clean_env(), capture_output=True, check=True
    )
    return int(done.stdout) / 1024


def _docker(bench: Bench) -> dict[str, str]:
    """A daemon of the bench's own; the environment in which `docker` talks to it."""
    folder = bench.folder / "docker"
    folder.mkdir(exist_ok=True)
    socket = folder / "docker.sock"
    bench.closing.enter_context(
        started(
            docker_daemon.command(folder),
            log=folder / "log",
            ready=lambda: socket.exists() and docker_daemon.answers(socket),
        )
    )
    return clean_env(DOCKER_HOST=f"unix://{socket}", DOCKER_CONFIG=str(folder / "config"))


def _twenty_layers() -> Image:
    """A root file system's worth of small files, in 20 layers."""
    return image([{f"srv/{n}/{i}": os.urandom(15_000) for i in range(200)} for n in range(20)])


def _push(server: RunningServer, repository: str, pushed: Image) -> str:
    with closing(Pusher(server.port)) as pusher:
        pusher.image(repository, "latest", pushed)
    return f"{server.host}/{repository}:latest"


def pull_and_unpack(bench: Bench) -> Iterator[Row]:
    """Until a container can start: `pull` and `create`, beside `docker pull`, which unpacks."""
    env = _docker(bench)
    docker = require_program("docker")
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    store = bench.folder / "store"
    for title, name in (
        ("pull and unpack debootstrap image", _push_rootfs(server)),
        ("pull and unpack 20 layers", _push(server, "bench/twenty", _twenty_layers())),
    ):

        def ours(name: str = name) -> float:
            shutil.rmtree(store, ignore_errors=True)
            pulled = _timed(_tool(store, "pull", "-q", name))
            return pulled + _timed(_tool(store, "create", name, "sh"))

        def theirs(name: str = name) -> float:
            subprocess.run([docker, "rmi", "-f", name], env=env, capture_output=True, check=False)
            return _timed([docker, "pull", "-q", name], env)

        values = bench.alternating(ours, theirs)
        yield Row(title, "s", *values, peer_name="docker pull", bar="≤ 0.7×")


def unpack(bench: Bench) -> Iterator[Row]:
    """Unpack the debootstrap image and the one of 20 layers, beside `umoci unpack` of the same layout."""
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    umoci = require_program("umoci")
    for title, name in (
        ("unpack debootstrap image", _push_rootfs(server)),
        ("unpack 20 layers", _push(server, "bench/twenty", _twenty_layers())),
    ):
        store, layout, bundle = bench.folder / "store", bench.folder / "layout", bench.folder / "bundle"
        for folder in (store, layout):
            shutil.rmtree(folder, ignore_errors=True)
        _timed(_tool(store, "pull", "-q", name))
        _timed([require_program("skopeo"), "copy", "-q", "--src-tls-verify=false", f"docker://{name}",
                f"oci:{layout}:latest"])  # fmt: skip

        def ours(name: str = name, store: Path = store) -> float:
            shutil.rmtree(store / "entrepot/snapshots", ignore_errors=True)
            return _timed(_tool(store, "create", name, "sh"))

        def theirs(layout: Path = layout, bundle: Path = bundle) -> float:
            shutil.rmtree(bundle, ignore_errors=True)
            return _timed([umoci, "unpack", "--image", f"{layout}:latest", str(bundle)])

        values = bench.alternating(ours, theirs)
        yield Row(title, "s", *values, peer_name="umoci unpack", bar="≤ 0.6×")
        shutil.rmtree(store / "entrepot/snapshots", ignore_errors=True)
        yield Row(
            f"peak memory: {title}", "MiB", [_peak_mib(_tool(store, "create", name, "sh"))], bar="≤ 200 MiB"
        )


def run(bench: Bench) -> Iterator[Row]:
    """`run --rm IMAGE true`, unpacked before, beside podman with the same runtime."""
    store, folder = bench.folder / "store", Path("/var/tmp") / f"ep-bench-{os.getpid()}"
    bench.closing.callback(shutil.rmtree, folder, ignore_errors=True)
    podman = [require_program("podman"), f"--root={folder}/root", f"--runroot={folder}/run"]
    podman += [f"--tmpdir={folder}/tmp", "--storage-driver=overlay", "--cgroup-manager=cgroupfs"]
    podman += ["--events-backend=file", "--runtime=runc"]
    archive = str(debootstrap_root())
    _timed(_tool(store, "import", archive, "deb:1"))
    _timed([*podman, "import", archive, "deb:1"])
    ours = _tool(store, "run", "--rm", "deb:1", "true")
    theirs = [*podman, "run", "--rm", "--network=none", *_SMALL_LIMITS, "deb:1", "true"]
    env = clean_env(ENTREPOT_RUNTIME="runc")
    _timed(ours, env)
    _timed(theirs)
    rounds = Bench(bench.folder, max(bench.rounds, 7))
    values = rounds.alternating(lambda: _timed(ours, env), lambda: _timed(theirs))
    yield Row("run --rm IMAGE true", "s", *values, peer_name="podman run", bar="≤ 1.0×")


def commit_and_export(bench: Bench) -> Iterator[Row]:
    """Commit of a 100 MB change, and export of the debootstrap image's files, beside docker."""
    env = _docker(bench)
    docker, store = require_program("docker"), bench.folder / "store"
    archive = str(debootstrap_root())
    _timed(_tool(store, "import", archive, "deb:1"))
    _timed([docker, "import", archive, "deb:1"], env)
    script = "head -c 100000000 /dev/urandom > /change"
    _timed(_tool(store, "run", "--name", "changed", "deb:1", "sh", "-c", script))
    _timed([docker, "run", "--name", "changed", "--network=none", "deb:1", "sh", "-c", script], env)
    values = bench.alternating(
        lambda: _timed(_tool(store, "commit", "changed")), lambda: _timed([docker, "commit", "changed"], env)
    )
    yield Row("commit of a 100 MB change", "s", *values, peer_name="docker commit", bar="≤ 0.7×")
    target = bench.folder / "flat.tar"
    export = _tool(store, "export", "-o", str(target), "changed")
    values = bench.alternating(
        lambda: _timed(export), lambda: _timed([docker, "export", "-o", str(target), "changed"], env)
    )
    yield Row("export", "s", *values, peer_name="docker export", bar="≤ 0.7×")
    yield Row("peak memory of commit", "MiB", [_peak_mib(_tool(store, "commit", "changed"))], bar="≤ 200 MiB")
    yield Row("peak memory of export", "MiB", [_peak_mib(export)], bar="≤ 200 MiB")


FIGURES: dict[str, Figure] = {
    "container-pull": pull_and_unpack,
    "container-unpack": unpack,
    "container-run": run,
    "container-commit": commit_and_export,
}
