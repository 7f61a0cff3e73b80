"""Images for tests: small ones made of bytes, and a real Debian root file system."""

import fcntl
import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.programs import require_program, require_root
from tests.support.wire import Wire

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"

_CACHE = Path(__file__).resolve().parents[2] / ".cache"


def digest_of(data: bytes) -> str:
    """`sha256:…` of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def layer_tar(files: Mapping[str, bytes]) -> bytes:
    """A tar with the regular files `files`, the same bytes every time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mtime, entry.mode = len(content), 1_700_000_000, 0o755
            tar.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def gzipped(data: bytes) -> bytes:
    """`data` as gzip, the same bytes every time."""
    return gzip.compress(data, compresslevel=1, mtime=0)


@dataclass(frozen=True, slots=True)
class Image:
    """An image as bytes: its manifest and every blob that manifest names, by digest."""

    manifest: bytes
    media_type: str
    blobs: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        return digest_of(self.manifest)

    @property
    def config_digest(self) -> str:
        return str(json.loads(self.manifest)["config"]["digest"])


def image(
    layers: Sequence[Mapping[str, bytes] | bytes] = ({"hello.txt": b"hello\n"},),
    *,
    docker: bool = False,
    os: str = "linux",
    architecture: str = "amd64",
    variant: str | None = None,
    config: Mapping[str, Any] | None = None,
    compress: bool = True,
) -> Image:
    """An image whose layers hold `layers` (path to content, or a tar), in OCI's or docker's media types."""
    tars = [files if isinstance(files, bytes) else layer_tar(files) for files in layers]
    packed = [gzipped(tar) if compress else tar for tar in tars]
    platform = {"architecture": architecture, "os": os} | ({"variant": variant} if variant else {})
    document = {
        "created": "2024-01-01T00:00:00Z",
        **platform,
        "config": dict(config or {}),
        "rootfs": {"type": "layers", "diff_ids": [digest_of(tar) for tar in tars]},
        "history": [
            {"created": "2024-01-01T00:00:00Z", "created_by": f"layer {n}"} for n in range(len(tars))
        ],
    }
    raw_config = json.dumps(document).encode()
    layer_type = DOCKER_LAYER_GZIP if docker else OCI_LAYER_GZIP
    if not compress:
        layer_type = layer_type.removesuffix(".gzip").removesuffix("+gzip")
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    manifest = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {
            "mediaType": DOCKER_CONFIG if docker else OCI_CONFIG,
            "digest": digest_of(raw_config),
            "size": len(raw_config),
        },
        "layers": [
            {"mediaType": layer_type, "digest": digest_of(data), "size": len(data)} for data in packed
        ],
    }
    blobs = {digest_of(data): data for data in [raw_config, *packed]}
    return Image(json.dumps(manifest).encode(), media_type, blobs)


def index(images: Sequence[tuple[Image, Mapping[str, str]]]) -> bytes:
    """An OCI index over `images`, each with its platform."""
    manifests = [
        {
            "mediaType": each.media_type,
            "digest": each.digest,
            "size": len(each.manifest),
            "platform": dict(platform),
        }
        for each, platform in images
    ]
    return json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).encode()


def push_blob(wire: Wire, repository: str, data: bytes) -> str:
    """Push one blob in a single PUT and return its digest."""
    begun = wire("POST", f"/v2/{repository}/blobs/uploads/")
    assert begun.status == 202, begun
    location, digest = begun.headers["location"], digest_of(data)
    path = location if location.startswith("/") else "/" + location.split("/", 3)[3]
    done = wire("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", body=data)
    assert done.status == 201, done
    return digest


def push_image(wire: Wire, repository: str, tag: str, pushed: Image) -> str:
    """Push an image, blobs first, and return its manifest's digest."""
    for data in pushed.blobs.values():
        push_blob(wire, repository, data)
    done = wire(
        "PUT",
        f"/v2/{repository}/manifests/{tag}",
        body=pushed.manifest,
        headers={"Content-Type": pushed.media_type},
    )
    assert done.status == 201, done
    return pushed.digest


def debootstrap_root() -> Path:
    """A tar of a real Debian root file system (minbase), made once and kept in the project's `.cache`."""
    require_root()
    program = require_program("debootstrap")
    _CACHE.mkdir(exist_ok=True)
    archive = _CACHE / "debian-rootfs.tar"
    with (_CACHE / "debian-rootfs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if archive.exists():
            return archive
        root, unfinished = _CACHE / "debian-rootfs", archive.with_suffix(".part")
        argv = [program, "--variant=minbase", *_debian_suite(), str(root), *_debian_mirror()]
        for _ in range(3):  # mirrors have hiccups
            subprocess.run(["rm", "-rf", str(root)], check=True)
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=900)
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stdout[-2_000:] + done.stderr[-2_000:]
        subprocess.run(
            ["rm", "-rf", f"{root}/var/cache/apt/archives", f"{root}/var/lib/apt/lists"], check=True
        )
        subprocess.run(["tar", "--numeric-owner", "--xattrs", "-C", root, "-cf", unfinished, "."], check=True)
        subprocess.run(["rm", "-rf", str(root)], check=True)
        unfinished.rename(archive)
    return archive


def _debian_suite() -> list[str]:
    release = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    return [release.get("VERSION_CODENAME", "stable").strip('"')]


def _debian_mirror() -> list[str]:
    """The mirror this machine's own apt uses, so that no address is written here."""
    if mirror := os.environ.get("DEBIAN_MIRROR"):
        return [mirror]
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(SITE)"], capture_output=True, text=True, check=False
    )
    sites = [line.rstrip("/") for line in asked.stdout.splitlines() if line.startswith("http")]
    main = [site for site in sites if "security" not in site]
    return (main or sites)[:1]
