"""Archives go to real skopeo, podman and docker and come back with the same image ID."""

import io
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.archive.reading import open_archive
from entrepot.archive.sink import ArchiveSink
from entrepot.archive.writing import SavedImage, write_archive
from entrepot.content.graph import walk
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes, Sink, Source
from entrepot.daemon.address import DaemonAddress
from entrepot.daemon.docker import DockerDaemon
from entrepot.daemon.errors import DaemonRefused, NotInDaemon
from entrepot.layout.directory import ImageLayout
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference
from tests.support.dockerd import Docker
from tests.support.images import image
from tests.support.programs import require_program, require_root

pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]


class Sample:
    """An image of two layers, as bytes in memory."""

    def __init__(self, name: str, *, docker: bool = False) -> None:
        content = {"etc/name": name.encode(), "data": name.encode() * 5_000}
        made = image([{"bin/true": b"x"}, content], docker=docker, config={"Cmd": ["/bin/true"]})
        self.store = MemoryStore()
        self.store.blobs.update({Digest.parse(digest): data for digest, data in made.blobs.items()})
        self.manifest = ManifestBytes.of(made.manifest, made.media_type)
        self.store.put_manifest(self.manifest, "1")
        self.id = made.config_digest

    def saved(self, *names: str) -> SavedImage:
        references = tuple(Reference.parse(name) for name in names)
        return SavedImage(self.store, self.manifest.descriptor(), references)


def run(*argv: str, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=300, env=env)
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return done.stdout


def copy(source: Source, sink: Sink, reference: str, tag: str) -> Digest:
    """Everything, the plain way; the digest of what was copied."""
    nodes = list(walk(source, reference))
    for node in nodes:
        for blob in node.blobs:
            with source.open_blob(blob) as stream:
                sink.put_blob(blob, stream)
        sink.put_manifest(node.manifest, tag if node is nodes[-1] else None)
    return nodes[-1].manifest.digest


def image_id(path: Path, name: str = "") -> str:
    with open_archive(path) as archive:
        copy(archive, MemoryStore(), name, "t")  # verifies every byte
        return str(archive.find(name).image_id)


def write(path: Path, *images: SavedImage, archive_format: str = "docker") -> Path:
    with path.open("wb") as file:
        write_archive(file, images, archive_format=archive_format)  # type: ignore[arg-type]
    return path


def test_skopeo_reads_ours_and_we_read_skopeos(tmp_path: Path) -> None:
    skopeo = require_program("skopeo")
    sample = Sample("skopeo")
    ours = write(tmp_path / "ours.tar", sample.saved("team/app:1"))
    oci = write(tmp_path / "oci.tar", sample.saved("team/app:1"), archive_format="oci")
    conversions = [
        (f"docker-archive:{ours}:team/app:1", "docker-archive", "quay.io/app:2", True),
        (f"oci-archive:{oci}:1", "oci-archive", "v7", True),
        (f"oci-archive:{oci}", "oci-archive", "team/app:3", True),
        # Between the two kinds skopeo writes the config anew.
        (f"docker-archive:{ours}", "oci-archive", "1", False),
        (f"oci-archive:{oci}:1", "docker-archive", "x:1", False),
    ]
    for number, (source, kind, name, is_same) in enumerate(conversions):
        path = tmp_path / f"{number}.tar"
        run(skopeo, "copy", "--insecure-policy", source, f"{kind}:{path}:{name}")
        assert (image_id(path, name) == sample.id) or not is_same
    digest = run(skopeo, "inspect", "--format", "{{.Digest}}", f"oci-archive:{oci}:1").strip()
    assert digest == str(sample.manifest.digest)


@pytest.fixture
def podman(tmp_path: Path) -> Iterator[list[str]]:
    """podman with a storage of this test's own; its name for the run directory may not be long."""
    require_root()
    program = require_program("podman")
    with tempfile.TemporaryDirectory(prefix="pod") as runroot:
        yield [program, f"--root={tmp_path}/root", f"--runroot={runroot}", "--storage-driver=vfs"]


def test_podman_loads_ours_and_we_load_podmans(podman: list[str], tmp_path: Path) -> None:
    base = podman
    sample = Sample("podman")
    ours = write(tmp_path / "ours.tar", sample.saved("localhost/team/app:1"))
    run(*base, "load", "-q", "-i", str(ours))
    assert run(*base, "images", "--no-trunc", "--format", "{{.ID}}").split() == [sample.id]
    for kind in ("docker-archive", "oci-archive"):
        path = tmp_path / f"{kind}.tar"
        run(*base, "save", "-q", "--format", kind, "-o", str(path), "localhost/team/app:1")
        assert image_id(path) == sample.id
        with open_archive(path) as archive:
            assert archive.find("localhost/team/app:1").image_id is not None
    several = tmp_path / "several.tar"
    run(*base, "tag", "localhost/team/app:1", "localhost/other:2")
    run(*base, "save", "-q", "-m", "-o", str(several), "localhost/team/app:1", "localhost/other:2")
    assert image_id(several, "localhost/other:2") == sample.id


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
def test_docker_loads_ours_and_we_load_dockers(dockerd: Docker, tmp_path: Path, docker: bool) -> None:
    first, second = Sample(f"docker-{docker}", docker=docker), Sample(f"docker-two-{docker}", docker=docker)
    names = [f"archive-{'d' if docker else 'o'}/{word}:1" for word in ("one", "two")]
    ours = write(tmp_path / "ours.tar", first.saved(names[0]), second.saved(names[1]))
    said = dockerd.run("load", "-q", "-i", str(ours)).stdout
    assert [line for line in said.splitlines() if "Loaded" in line] == [
        f"Loaded image: {name}" for name in names
    ]
    ids = [dockerd.run("image", "inspect", "--format", "{{.Id}}", name).stdout.strip() for name in names]
    assert ids == [first.id, second.id]
    theirs = tmp_path / "theirs.tar"
    dockerd.run("save", "-o", str(theirs), *names)
    assert [image_id(theirs, name) for name in names] == [first.id, second.id]


def test_a_daemon_is_a_place_to_copy_to_and_from(dockerd: Docker) -> None:
    sample = Sample("daemon")
    with DockerDaemon(DaemonAddress.parse(f"unix://{dockerd.socket}")) as daemon:
        assert daemon.ping()
        said: list[str] = []
        name = Reference.parse("archive-daemon/app")
        with ArchiveSink(lambda write: said.extend(daemon.load(write)), reference=name) as sink:
            copy(sample.store, sink, "1", "7")
        assert said == ["Loaded image: archive-daemon/app:7"]
        assert daemon.inspect("archive-daemon/app:7")["Id"] == sample.id
        assert any("archive-daemon/app:7" in (found["RepoTags"] or ()) for found in daemon.list_images())
        with daemon.save(["archive-daemon/app:7"]) as packed, open_archive(packed) as archive:
            assert str(archive.find("archive-daemon/app:7").image_id) == sample.id
            copy(archive, MemoryStore(), "", "t")
        with pytest.raises(NotInDaemon, match="archive-daemon/nope"):
            daemon.save(["archive-daemon/nope:1"])
        bad = Reference.parse("archive-daemon/bad")
        with pytest.raises(DaemonRefused), ArchiveSink(daemon.load, reference=bad) as sink:
            _put_wrong_layer(sink)


def _put_wrong_layer(sink: Sink) -> None:
    """An image whose config promises a layer of another content: docker refuses it, and we say so."""
    sample = Sample("wrong")
    manifest = json.loads(sample.manifest.raw)
    raw = sample.store.blobs[Digest.parse(sample.id)]
    wrong = raw.replace(json.loads(raw)["rootfs"]["diff_ids"][1].encode(), b"sha256:" + b"0" * 64)
    manifest["config"] |= {"digest": str(Digest.of(wrong)), "size": len(wrong)}
    sample.store.blobs[Digest.of(wrong)] = wrong
    built = ManifestBytes.of(json.dumps(manifest).encode(), sample.manifest.media_type)
    sample.store.put_manifest(built, "bad")
    copy(sample.store, sink, "bad", "1")


def test_an_archive_streams_through_a_pipe_from_skopeo(tmp_path: Path) -> None:
    skopeo = require_program("skopeo")
    sample = Sample("pipe")
    ours = write(tmp_path / "ours.tar", sample.saved("a:1"))
    run(
        skopeo,
        "copy",
        "--insecure-policy",
        f"docker-archive:{ours}",
        f"docker-archive:{tmp_path}/theirs.tar:b:2",
    )
    gzip = subprocess.run(
        ["gzip", "-c", str(tmp_path / "theirs.tar")], capture_output=True, check=True, timeout=60
    )
    with open_archive(io.BytesIO(gzip.stdout), tmp=tmp_path) as archive:
        assert str(archive.find("b:2").image_id) == sample.id


def test_a_layout_is_shared_with_skopeo(tmp_path: Path) -> None:
    skopeo = require_program("skopeo")
    sample = Sample("layout")
    layout = ImageLayout(tmp_path / "layout", create=True)
    copy(sample.store, layout, "1", "ours")
    run(skopeo, "copy", "--insecure-policy", f"oci:{layout.root}:ours", f"oci:{layout.root}:theirs")
    run(skopeo, "copy", "--insecure-policy", f"oci:{layout.root}:theirs", f"oci:{tmp_path}/other:v1")
    assert list(layout.list_tags()) == ["ours", "theirs"]
    assert layout.get_manifest("theirs").digest == sample.manifest.digest
    assert copy(ImageLayout(tmp_path / "other"), MemoryStore(), "", "t") == sample.manifest.digest
    copy(sample.store, layout, "1", "again")
    assert list(layout.list_tags()) == ["again", "ours", "theirs"]
