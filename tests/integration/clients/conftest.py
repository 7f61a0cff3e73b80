"""One registry and real content for its clients: Debian with layers on top, and an index."""

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.images import (
    OCI_INDEX,
    Image,
    debootstrap_root,
    digest_of,
    gzipped,
    image,
    index,
    push_image,
)
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire


@dataclass(frozen=True, slots=True)
class Pushed:
    """What a test starts from: `name` as a client types it, and the digest it has to find there."""

    name: str
    repository: str
    tag: str
    digest: str


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A registry of this worker's own."""
    with running_server(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture
def wire(registry: RunningServer) -> Iterator[Wire]:
    """Plain HTTP to the registry."""
    with closing(Wire(registry.port, headers={"Host": registry.host})) as connection:
        yield connection


def _on_top_of(rootfs: bytes, top: Image) -> Image:
    """`top` with `rootfs` as an additional first layer."""
    config = json.loads(top.blobs[top.config_digest])
    config["rootfs"]["diff_ids"].insert(0, digest_of(rootfs))
    config["history"].insert(0, {"created": "2024-01-01T00:00:00Z", "created_by": "debootstrap"})
    config["config"] = {"Cmd": ["/bin/sh"], "Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]}
    raw_config, packed = json.dumps(config).encode(), gzipped(rootfs)
    manifest = json.loads(top.manifest)
    manifest["config"] |= {"digest": digest_of(raw_config), "size": len(raw_config)}
    manifest["layers"].insert(0, manifest["layers"][0] | {"digest": digest_of(packed), "size": len(packed)})
    blobs = {digest: data for digest, data in top.blobs.items() if digest != top.config_digest}
    blobs |= {digest_of(raw_config): raw_config, digest_of(packed): packed}
    return Image(json.dumps(manifest).encode(), top.media_type, blobs)


@pytest.fixture(scope="session")
def real_image(registry: RunningServer) -> Pushed:
    """A real Debian with two layers on top, in the registry as `comps/debian:12`."""
    top = image([{"opt/greeting.txt": b"hello from a layer\n"}, {"opt/second.txt": b"another one\n"}])
    made = _on_top_of(debootstrap_root().read_bytes(), top)
    with closing(Wire(registry.port, headers={"Host": registry.host})) as wire:
        digest = push_image(wire, "comps/debian", "12", made)
    return Pushed(f"{registry.host}/comps/debian:12", "comps/debian", "12", digest)


@pytest.fixture(scope="session")
def multi_platform(registry: RunningServer) -> Pushed:
    """An index for amd64 and arm64, in the registry as `comps/multi:1`."""
    kinds = [
        (image([{"which": name.encode()}], architecture=name), {"os": "linux", "architecture": name})
        for name in ("amd64", "arm64")
    ]
    raw = index(kinds)
    with closing(Wire(registry.port, headers={"Host": registry.host})) as wire:
        for made, platform in kinds:
            push_image(wire, "comps/multi", platform["architecture"], made)
        headers = {"Content-Type": OCI_INDEX}
        done = wire("PUT", "/v2/comps/multi/manifests/1", body=raw, headers=headers)
        assert done.status == 201, done
    return Pushed(f"{registry.host}/comps/multi:1", "comps/multi", "1", digest_of(raw))


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """An empty folder with a small file in it, for builds."""
    folder = tmp_path / "build"
    folder.mkdir()
    (folder / "data.txt").write_text("built here\n")
    return folder
