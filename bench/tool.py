"""The image tool beside skopeo and docker: start-up, pull, push, save and load, memory."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from bench.frame import Bench, Figure, Row
from bench.load import Pusher
from tests.support import dockerd as docker_daemon
from tests.support.images import Image, debootstrap_root, digest_of, gzipped, image
from tests.support.processes import started
from tests.support.programs import require_program
from tests.support.server import ENTREPOT, RunningServer, clean_env, running_server

_MIB = 1 << 20


def _timed(argv: Sequence[str], env: dict[str, str] | None = None) -> float:
    began = time.perf_counter()
    done = subprocess.run(argv, env=env or clean_env(), capture_output=True, check=False)
    took = time.perf_counter() - began
    assert done.returncode == 0, (argv, done.stderr[-2_000:])
    return took


# The peak of a process begins with that of the one it was forked from, so a small one does it.
_MEASURE = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def _peak_mib(argv: Sequence[str]) -> float:
    """The highest resident size of the command, MiB."""
    done = subprocess.run(
        [sys.executable, "-S", "-c", _MEASURE, *argv], env=clean_env(), capture_output=True, check=False
    )
    assert done.returncode == 0, (argv, done.stderr[-2_000:])
    return int(done.stdout) / 1024


def _random_image(layers: int, mib_each: int) -> Image:
    """Layers that do not compress, so that their size is what travels."""
    return image([{f"file-{n}": os.urandom(mib_each * _MIB)} for n in range(layers)])


def _push(server: RunningServer, repository: str, pushed: Image) -> str:
    with closing(Pusher(server.port)) as pusher:
        pusher.image(repository, "latest", pushed)
    return f"{server.host}/{repository}:latest"


def _store(bench: Bench, name: str) -> Path:
    folder = bench.folder / name
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def _skopeo_pull(bench: Bench, name: str) -> float:
    place = _store(bench, "skopeo")
    source = f"docker://{name}"
    return _timed(
        [require_program("skopeo"), "copy", "-q", "--src-tls-verify=false", source, f"oci:{place}:latest"]
    )


def _our_pull(bench: Bench, name: str) -> float:
    return _timed([ENTREPOT, "--store", str(_store(bench, "store")), "pull", "-q", name])


def start_up(bench: Bench) -> Iterator[Row]:
    """What people type all day, over the time of an empty Python, milliseconds."""
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    env = clean_env() | {"ENTREPOT_STORE": str(bench.folder / "store")}
    name = _push(server, "bench/app", image([{"a": b"a"}]))
    _timed([ENTREPOT, "pull", "-q", name], env)
    for number in range(5):
        _timed([ENTREPOT, "tag", name, f"bench/app:{number}"], env)
    _timed([ENTREPOT, "create", "--name", "one", name, "/a"], env)
    rounds = max(bench.rounds, 15)
    empty = sorted(_timed([sys.executable, "-c", "pass"]) * 1000 for _ in range(rounds))[rounds // 2]
    for line, bar in (
        ("--version", "≤ 40 ms"), ("images", "≤ 40 ms"), ("ps -a", "≤ 40 ms"),
        ("inspect bench/app:1", "≤ 50 ms"), (f"pull {name}", "≤ 90 ms"),
    ):  # fmt: skip
        took = [_timed([ENTREPOT, *line.split()], env) * 1000 - empty for _ in range(rounds)]
        yield Row(f"`entrepot {line.split()[0]}` over an empty Python", "ms", took, bar=bar)
    for number in range(5, 200):
        _timed([ENTREPOT, "tag", name, f"bench/app:{number}"], env)
    took = [_timed([ENTREPOT, "images"], env) * 1000 - empty for _ in range(rounds)]
    yield Row("`entrepot images` with 200 images", "ms", took, bar="≤ 80 ms")


def pull(bench: Bench) -> Iterator[Row]:
    """Pull into an empty store: 100 MB, a real Debian root file system, 20 layers, 1 GB."""
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    cases = [
        ("pull 100 MB", _push(server, "bench/hundred", _random_image(4, 25)), "≤ 0.9×"),
        ("pull debootstrap image", _push_rootfs(server), "≤ 0.9×"),
        ("pull 20 layers", _push(server, "bench/twenty", _random_image(20, 5)), "≤ 0.9×"),
        ("pull 1 GB", _push(server, "bench/thousand", _random_image(8, 128)), "≤ 0.8×"),
    ]
    for title, name, bar in cases:
        values = bench.alternating(lambda: _our_pull(bench, name), lambda: _skopeo_pull(bench, name))  # noqa: B023
        yield Row(title, "s", *values, peer_name="skopeo", bar=bar)
    peak = _peak_mib([ENTREPOT, "--store", str(_store(bench, "store")), "pull", "-q", cases[-1][1]])
    yield Row("peak memory of pull 1 GB", "MiB", [peak], bar="≤ 120 MiB")


def _push_rootfs(server: RunningServer) -> str:
    tar = debootstrap_root().read_bytes()
    layer = gzipped(tar)
    base = image([{"a": b"a"}])
    config = json.loads(base.blobs[base.config_digest])
    config["rootfs"]["diff_ids"] = [digest_of(tar)]
    raw_config = json.dumps(config).encode()
    manifest = json.loads(base.manifest)
    manifest["config"] |= {"digest": digest_of(raw_config), "size": len(raw_config)}
    manifest["layers"] = [manifest["layers"][0] | {"digest": digest_of(layer), "size": len(layer)}]
    blobs = {digest_of(raw_config): raw_config, digest_of(layer): layer}
    return _push(server, "bench/debian", Image(json.dumps(manifest).encode(), base.media_type, blobs))


def push(bench: Bench) -> Iterator[Row]:
    """Push 1 GB of compressed layers to an empty repository, and again when all is there."""
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    name = _push(server, "bench/source", _random_image(8, 128))
    store, layout = bench.folder / "store", bench.folder / "layout"
    _timed([ENTREPOT, "--store", str(store), "pull", "-q", name])
    _timed(
        [
            require_program("skopeo"),
            "copy",
            "-q",
            "--src-tls-verify=false",
            f"docker://{name}",
            f"oci:{layout}:latest",
        ]
    )
    # Each push goes to a registry that has none of the bytes.
    numbers = iter(range(1_000))

    def ours() -> float:
        with running_server(bench.folder / f"empty{next(numbers)}") as empty:
            target = f"{empty.host}/bench/app:latest"
            _timed([ENTREPOT, "--store", str(store), "tag", name, target])
            began = time.perf_counter()
            peaks.append(_peak_mib([ENTREPOT, "--store", str(store), "push", "-q", target]))
            took = time.perf_counter() - began
            again.append(_timed([ENTREPOT, "--store", str(store), "push", "-q", target]))
        shutil.rmtree(empty.data)
        return took

    def theirs() -> float:
        with running_server(bench.folder / f"empty{next(numbers)}") as empty:
            target = f"docker://{empty.host}/bench/app:latest"
            argv = [
                require_program("skopeo"),
                "copy",
                "-q",
                "--dest-tls-verify=false",
                f"oci:{layout}:latest",
                target,
            ]
            took = _timed(argv)
        shutil.rmtree(empty.data)
        return took

    again: list[float] = []
    peaks: list[float] = []
    yield Row("push 1 GB", "s", *bench.alternating(ours, theirs), peer_name="skopeo", bar="≤ 0.9×")
    yield Row("push 1 GB again, all there", "s", again, bar="≤ 0.3 s")
    yield Row("peak memory of push 1 GB", "MiB", peaks, bar="≤ 120 MiB")


def save_load(bench: Bench) -> Iterator[Row]:
    """save + load of the 1 GB image beside docker's."""
    server = bench.closing.enter_context(running_server(bench.folder / "server"))
    name = _push(server, "bench/thousand", _random_image(8, 128))
    store, archive = bench.folder / "store", bench.folder / "saved.tar"
    _timed([ENTREPOT, "--store", str(store), "pull", "-q", name])
    home = bench.folder / "dockerd"
    home.mkdir()
    socket = home / "docker.sock"
    bench.closing.enter_context(
        started(docker_daemon.command(home), log=home / "log", ready=lambda: docker_daemon.answers(socket))
    )
    docker = [require_program("docker"), f"--host=unix://{socket}"]
    _timed([*docker, "pull", "-q", name])

    def ours() -> float:
        took = _timed([ENTREPOT, "--store", str(store), "save", "-o", str(archive), name])
        return took + _timed(
            [ENTREPOT, "--store", str(_store(bench, "other")), "load", "-q", "-i", str(archive)]
        )

    def theirs() -> float:
        took = _timed([*docker, "save", "-o", str(archive), name])
        _timed([*docker, "rmi", "-f", name])
        return took + _timed([*docker, "load", "-q", "-i", str(archive)])

    yield Row("save + load 1 GB", "s", *bench.alternating(ours, theirs), peer_name="docker", bar="≤ 0.7×")
    saving = _peak_mib([ENTREPOT, "--store", str(store), "save", "-o", str(archive), name])
    loading = _peak_mib([ENTREPOT, "--store", str(_store(bench, "other")), "load", "-q", "-i", str(archive)])
    yield Row("peak memory of save, load 1 GB", "MiB", [max(saving, loading)], bar="≤ 120 MiB")


FIGURES: dict[str, Figure] = {"start-up": start_up, "pull": pull, "push": push, "save-load": save_load}
