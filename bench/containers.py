"""Containers beside docker, podman and umoci: pull and unpack, unpack alone, run, commit, export, memory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from bench.frame import Bench, Figure, Row
from bench.load import Pusher
from bench.tool import _timed
from tests.support import dockerd as docker_daemon
from tests.support.images import Image, debootstrap_root, digest_of, gzipped, image, layer_tar
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


# ext4 looks past every inode that was freed in the last minute, one by one, before it takes a new one: files
# made right
# after many were deleted cost ten times as much. So each round has an image and folders of its own, and
# nothing is
# deleted before the end.


def _twenty_layers(_: int) -> Image:
    """A root file system's worth of files, in 20 layers."""
    return image([{f"srv/{n}/{i}": os.urandom(15_000) for i in range(200)} for n in range(20)])


def _debian(number: int) -> Image:
    """The debootstrap root file system, with one file more that makes it this round's own."""
    tar = debootstrap_root().read_bytes()
    mark = layer_tar({f"round-{number}": os.urandom(16)})
    end = tar.rstrip(b"\0")
    whole = end + bytes(-len(end) % 512) + mark
    layer = gzipped(whole)
    base = image([{"a": b"a"}])
    config = json.loads(base.blobs[base.config_digest])
    config["rootfs"]["diff_ids"] = [digest_of(whole)]
    raw_config = json.dumps(config).encode()
    manifest = json.loads(base.manifest)
    manifest["config"] |= {"digest": digest_of(raw_config), "size": len(raw_config)}
    manifest["layers"] = [manifest["layers"][0] | {"digest": digest_of(layer), "size": len(layer)}]
    blobs = {digest_of(raw_config): raw_config, digest_of(layer): layer}
    return Image(json.dumps(manifest).encode(), base.media_type, blobs)


def _push(server: RunningServer, repository: str, pushed: Image) -> str:
    with closing(Pusher(server.port)) as pusher:
        pusher.image(repository, "latest", pushed)
    return f"{server.host}/{repository}:latest"


_CASES = (("debootstrap image", _debian), ("20 layers", _twenty_layers))


def _names(bench: Bench, server: RunningServer, title: str, make: Callable[[int], Image]) -> list[str]:
    """An image for each round."""
    slug = title.replace(" ", "-")
    return [_push(server, f"bench/{slug}-{number}", make(number)) for number in range(bench.rounds)]


def pull_and_unpack(bench: Bench) -> Iterator[Row]:
    """Until a container can start: `create`, which pulls, beside `docker pull`, which unpacks."""
    env = _docker(bench)
    docker = require_program("docker")
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    for title, make in _CASES:
        names = _names(bench, server, title, make)
        ours, theirs = iter(names), iter(names)
        values = bench.alternating(
            lambda: _timed(_tool(_fresh(bench), "create", "--quiet", next(ours), "sh")),  # noqa: B023
            lambda: _timed([docker, "pull", "-q", next(theirs)], env),  # noqa: B023
        )
        yield Row(f"pull and unpack {title}", "s", *values, peer_name="docker pull", bar="≤ 0.7×")


def _fresh(bench: Bench) -> Path:
    """A folder nobody has used."""
    return bench.folder / f"fresh-{time.monotonic_ns()}"


def unpack(bench: Bench) -> Iterator[Row]:
    """Unpack the debootstrap image and the one of 20 layers, beside `umoci unpack` of the same layout."""
    umoci = require_program("umoci")
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    for title, make in _CASES:
        name = _push(server, "bench/" + title.replace(" ", "-"), make(0))
        layout = bench.folder / title.replace(" ", "-")
        source = f"docker://{name}"
        _timed(
            [
                require_program("skopeo"),
                "copy",
                "-q",
                "--src-tls-verify=false",
                source,
                f"oci:{layout}:latest",
            ]
        )
        stores = [_fresh(bench) for _ in range(bench.rounds + 1)]
        for store in stores:
            _timed(_tool(store, "pull", "-q", name))
        waiting = iter(stores)
        values = bench.alternating(
            lambda: _timed(_tool(next(waiting), "create", name, "sh")),  # noqa: B023
            lambda: _timed([umoci, "unpack", "--image", f"{layout}:latest", str(_fresh(bench))]),  # noqa: B023
        )
        yield Row(f"unpack {title}", "s", *values, peer_name="umoci unpack", bar="≤ 0.6×")
        peak = _peak_mib(_tool(next(waiting), "create", name, "sh"))
        yield Row(f"peak memory: unpack {title}", "MiB", [peak], bar="≤ 200 MiB")


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
    env = clean_env(ENTREPOT_RUNTIME="runc")
    rounds = Bench(bench.folder, max(bench.rounds, 7))
    for network, peers, title, bar in (
        ("none", "none", "run --rm IMAGE true", "≤ 1.0×"),
        ("pasta", "podman", "run --rm IMAGE true, with a network", ""),  # podman's for root: a bridge
    ):
        ours = _tool(store, "run", "--rm", f"--network={network}", "deb:1", "true")
        theirs = [*podman, "run", "--rm", f"--network={peers}", *_SMALL_LIMITS, "deb:1", "true"]
        _timed(ours, env)
        _timed(theirs)
        values = rounds.alternating(
            lambda: _timed(ours, env),  # noqa: B023
            lambda: _timed(theirs),  # noqa: B023
        )
        yield Row(title, "s", *values, peer_name="podman run", bar=bar)


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
