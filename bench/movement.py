"""Moving in beside `skopeo sync`, and what a copy of the catalog costs pushes."""

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.frame import Bench, Figure, Row
from bench.load import Pusher
from bench.registry import push_images
from tests.support.images import image
from tests.support.peers import docker_registry
from tests.support.programs import require_program
from tests.support.server import running_server

_IMAGES = 100
_LAYER = 4 << 20
_MIB = 1 << 20


def moving_in(bench: Bench) -> Iterator[Row]:
    """A Docker Registry's folder of 100 images of 8 MiB each, on the same disk."""
    peer = bench.closing.enter_context(docker_registry(bench.folder / "old"))
    pusher = Pusher(peer.port)
    for number in range(_IMAGES):
        made = image([{"a": os.urandom(_LAYER)}, {"b": os.urandom(_LAYER)}], compress=False)
        pusher.image("bench/app", f"v{number}", made)
    pusher.close()
    numbers = itertools.count()

    def rate(*, by_skopeo: bool, retired: bool = False) -> float:
        with ExitStack() as closing:
            folder: Path = bench.folder / f"new{next(numbers)}"
            server = closing.enter_context(running_server(folder))
            began = time.perf_counter()
            if by_skopeo:
                argv = [require_program("skopeo"), "sync", "--src", "docker", "--dest", "docker"]
                argv += ["--src-tls-verify=false", "--dest-tls-verify=false"]
                argv += [f"{peer.host}/bench/app", f"{server.host}/bench"]
                subprocess.run(argv, check=True, capture_output=True)
            else:
                extra = ["--source-retired"] if retired else []
                server.admin("import", "docker-registry", str(peer.root), *extra)
            return _IMAGES * 2 * _LAYER / _MIB / (time.perf_counter() - began)

    copied, linked, skopeo = bench.alternating(
        lambda: rate(by_skopeo=False),
        lambda: rate(by_skopeo=False, retired=True),
        lambda: rate(by_skopeo=True),
    )
    what = "import of a Docker Registry's folder, 100 images of 8 MiB"
    yield Row(what, "MiB/s", copied, skopeo, "skopeo sync", bar="≥ 5×")
    yield Row(f"{what}, --source-retired", "MiB/s", linked, skopeo, "skopeo sync")


def catalog_copy(bench: Bench) -> Iterator[Row]:
    """Small image pushes, 8 clients, with the catalog copied all the time and without."""
    env = {"ENTREPOT_CATALOG_COPY": f"file://{bench.folder}/copy"}
    on = bench.closing.enter_context(running_server(bench.folder / "on", env=env))
    off = bench.closing.enter_context(running_server(bench.folder / "off"))
    values = bench.alternating(
        lambda: push_images(on.port, clients=8, times=1_000),
        lambda: push_images(off.port, clients=8, times=1_000),
    )
    yield Row("small image pushes, catalog copied", "images/s", *values, peer_name="without", bar="≥ 0.9×")


FIGURES: dict[str, Figure] = {"moving-in": moving_in, "catalog-copy": catalog_copy}
