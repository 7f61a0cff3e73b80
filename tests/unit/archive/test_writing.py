"""Archives that are written: the same bytes each time, verified, whole or not there."""

import io
import json
import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from entrepot.archive.errors import InvalidArchive
from entrepot.archive.reading import open_archive
from entrepot.archive.sink import ArchiveSink
from entrepot.archive.writing import SavedImage, write_archive
from entrepot.content.errors import BlobNotFound
from entrepot.content.graph import walk
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.content.verify import DigestMismatch
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_manifest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference
from tests.unit.archive.builders import saved, stored_image, stored_index

HOST = str(Platform.host())


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def written(*images: SavedImage, **options: object) -> bytes:
    out = io.BytesIO()
    write_archive(out, images, **options)  # type: ignore[arg-type]
    return out.getvalue()


def content(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {}
        for member in archive:
            file = archive.extractfile(member)
            found[member.name] = file.read() if file else b""
        return found


def test_saving_twice_gives_the_same_file(store: MemoryStore) -> None:
    images = [
        saved(store, stored_image(store), "a:1", "b:2"),
        saved(store, stored_image(store, {"c": b"c"}), "c"),
    ]
    again = [SavedImage(each.source, each.target, each.references) for each in images]
    for archive_format in ("docker", "oci"):
        data = written(*images, archive_format=archive_format)
        assert data == written(*again, archive_format=archive_format)
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            assert {(member.mtime, member.uid, member.gid, member.uname) for member in archive} == {
                (0, 0, 0, "")
            }


def test_a_docker_archive_has_all_that_engines_look_for(store: MemoryStore) -> None:
    manifest = stored_image(store)
    files = content(written(saved(store, manifest, "bb:1", "ghcr.io/team/app:2")))
    layers = [layer.digest.hex for layer in manifest.parse().layers]  # type: ignore[union-attr]
    config = manifest.parse().config.digest.hex  # type: ignore[union-attr]
    assert json.loads(files["manifest.json"]) == [
        {
            "Config": f"blobs/sha256/{config}",
            "RepoTags": ["bb:1", "ghcr.io/team/app:2"],
            "Layers": [f"blobs/sha256/{layer}" for layer in layers],
        }
    ]
    assert json.loads(files["repositories"]) == {
        "bb": {"1": layers[-1]},
        "ghcr.io/team/app": {"2": layers[-1]},
    }
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    annotations = [entry["annotations"] for entry in json.loads(files["index.json"])["manifests"]]
    assert annotations == [
        {"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/library/bb:1"},
        {"org.opencontainers.image.ref.name": "2", "io.containerd.image.name": "ghcr.io/team/app:2"},
    ]
    assert files[f"blobs/sha256/{manifest.digest.hex}"] == manifest.raw


def test_an_oci_archive_is_a_layout_and_nothing_else(store: MemoryStore) -> None:
    files = content(written(saved(store, stored_image(store), "bb:1"), archive_format="oci"))
    assert {name.split("/")[0] for name in files} == {"blobs", "index.json", "oci-layout"}


def test_layers_are_shared_and_names_of_one_image_gathered(store: MemoryStore) -> None:
    first = stored_image(store, {"base": b"base"}, {"x": b"x"})
    second = stored_image(store, {"base": b"base"}, {"y": b"y"})
    data = written(saved(store, first, "a:1"), saved(store, second, "b:1"), saved(store, first, "a:2"))
    blobs = [name for name in content(data) if name.startswith("blobs/sha256/")]
    assert len(blobs) == len(set(blobs)) == 2 + 2 + 3  # manifests, configs, layers
    with open_archive(io.BytesIO(data)) as archive:
        names = [[reference.familiar() for reference in image.references] for image in archive.images]
        assert names == [["a:1", "a:2"], ["b:1"]]


def test_an_image_without_a_name_is_saved_and_found_by_id(store: MemoryStore) -> None:
    data = written(saved(store, stored_image(store)))
    files = content(data)
    assert json.loads(files["manifest.json"])[0]["RepoTags"] is None
    assert "repositories" not in files
    with open_archive(io.BytesIO(data)) as archive:
        assert archive.images[0].references == ()


def test_an_index_is_saved_whole_and_stands_for_one_image_in_dockers_table(store: MemoryStore) -> None:
    index = stored_index(store, "linux/s390x", HOST)
    data = written(saved(store, index, "multi:1"))
    with open_archive(io.BytesIO(data)) as archive:
        (image,) = archive.images
        assert image.target.digest == index.digest
        nodes = list(walk(archive, "multi:1"))
        assert len(nodes) == 3
        host = nodes[1].parsed
        assert image.image_id == host.config.digest  # type: ignore[union-attr]
    assert json.loads(content(data)["manifest.json"])[0]["Config"].endswith(image.image_id.hex)


def test_an_index_with_missing_platforms_stands_for_what_is_there(store: MemoryStore) -> None:
    index = stored_index(store, "linux/s390x", HOST)
    nodes = list(walk(store, index.digest))
    gone = nodes[0].manifest.digest
    files = content(written(saved(store, index, "multi:1")))
    del files[f"blobs/sha256/{gone.hex}"]
    with open_archive(io.BytesIO(_tar(files))) as archive:
        (image,) = archive.images
        assert image.target.digest == nodes[1].manifest.digest
        assert [reference.familiar() for reference in image.references] == ["multi:1"]
    del files[f"blobs/sha256/{nodes[1].blobs[1].digest.hex}"]
    with pytest.raises(InvalidArchive, match="is not whole"):
        open_archive(io.BytesIO(_tar(files)))


@pytest.mark.parametrize("change", ["cut", "other", "gone", "two-faced", "no layout file", "bad index"])
def test_k3_a_layout_archive_that_lies_is_refused(store: MemoryStore, change: str) -> None:
    manifest = stored_image(store)
    files = content(written(saved(store, manifest, "a:1")))
    layer = f"blobs/sha256/{manifest.parse().references()[0][1].digest.hex}"
    if change == "cut":
        files[layer] = files[layer][:-1]
    elif change == "other":
        files[f"blobs/sha256/{manifest.digest.hex}"] = manifest.raw.replace(b'"size"', b'"Size"')
    elif change == "gone":
        del files[layer]
    elif change == "two-faced":
        files["other.json"] = b'{"os":"linux"}'
        files["manifest.json"] = json.dumps([{"Config": "other.json", "Layers": []}]).encode()
    elif change == "no layout file":
        del files["oci-layout"]
    else:
        files["index.json"] = files["index.json"].replace(b"sha256:", b"sha256:../")
    with pytest.raises((InvalidArchive, DigestMismatch)):
        open_archive(io.BytesIO(_tar(files)))


def test_names_only_dockers_table_has_count(store: MemoryStore) -> None:
    files = content(written(saved(store, stored_image(store))))
    table = json.loads(files["manifest.json"])
    table[0]["RepoTags"] = ["late:1"]
    files["manifest.json"] = json.dumps(table).encode()
    with open_archive(io.BytesIO(_tar(files))) as archive:
        assert archive.find("late:1").references == (Reference.parse("late:1"),)


def test_what_is_not_what_it_should_be_is_not_written(store: MemoryStore) -> None:
    manifest = stored_image(store)
    layer = manifest.parse().references()[0][1]
    store.blobs[layer.digest] = b"x" * layer.size
    with pytest.raises(DigestMismatch):
        written(saved(store, manifest))
    del store.blobs[layer.digest]
    with pytest.raises(BlobNotFound):
        written(saved(store, manifest))


def test_progress_counts_every_byte_of_every_blob(store: MemoryStore) -> None:
    image = saved(store, stored_image(store), "a:1")
    counted: dict[Digest, int] = {}

    def count(descriptor: object, size: int) -> None:
        digest = descriptor.digest  # type: ignore[attr-defined]
        counted[digest] = counted.get(digest, 0) + size

    written(image, progress=count)
    assert counted == {digest: len(data) for digest, data in store.blobs.items()}


def test_an_archive_goes_into_a_pipe(tmp_path: Path, store: MemoryStore) -> None:
    """And nothing is gathered or replaced beside it."""
    manifest = stored_image(store)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        with ArchiveSink.to_path(pipe) as sink:
            assert list(tmp_path.iterdir()) == [pipe]
            for blob in manifest.parse().references()[0]:
                with store.open_blob(blob) as stream:
                    sink.put_blob(blob, stream)
            sink.put_manifest(manifest, "1")
    assert tarfile.is_tarfile(io.BytesIO(read.result()))
    assert pipe.is_fifo()


def test_what_a_killed_copy_had_gathered_is_removed_by_the_next(tmp_path: Path) -> None:
    killed = tmp_path / ".entrepot-archive-killed"
    (killed / "blobs").mkdir(parents=True)
    os.utime(killed, (1, 1))
    with ArchiveSink.to_path(tmp_path / "a.tar") as working:
        assert not killed.exists()
        (mine,) = tmp_path.iterdir()
        os.utime(mine, (1, 1))
        with ArchiveSink.to_path(tmp_path / "b.tar"):
            assert mine.exists()  # locked by a copy at work
        working.finish()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.tar", "b.tar"]


def test_a_sink_leaves_an_archive_or_nothing(tmp_path: Path, store: MemoryStore) -> None:
    manifest = stored_image(store)
    path = tmp_path / "out.tar"

    def fill(sink: ArchiveSink, *, fail: bool = False) -> None:
        for node in walk(store, manifest.digest):
            for blob in node.blobs:
                with store.open_blob(blob) as stream:
                    sink.put_blob(blob, stream)
            sink.put_manifest(node.manifest, "1")
        if fail:
            raise RuntimeError

    with pytest.raises(RuntimeError), ArchiveSink.to_path(path) as sink:
        fill(sink, fail=True)
    assert list(tmp_path.iterdir()) == []
    with ArchiveSink.to_path(
        path, reference=Reference.parse("team/app"), also=[Reference.parse("x:y")]
    ) as sink:
        fill(sink)
    with open_archive(path) as archive:
        assert [reference.familiar() for reference in archive.images[0].references] == ["team/app:1", "x:y"]
    with ArchiveSink.to_path(path, archive_format="oci") as sink:
        fill(sink)
    with open_archive(path) as archive:
        assert (archive.format, archive.images[0].ref_names) == ("oci", ("1",))
        assert archive.get_manifest("1") == manifest
    assert list(tmp_path.iterdir()) == [path]


def test_a_referrer_travels_with_its_subject(tmp_path: Path, store: MemoryStore) -> None:
    subject = stored_image(store)
    signature = ManifestBytes.from_manifest(
        build_manifest(store.add_blob(b"{}"), [], subject=subject.descriptor(), artifact_type="application/x")
    )
    path = tmp_path / "out.tar"
    with ArchiveSink.to_path(path, archive_format="oci") as sink:
        for manifest in (subject, signature):
            for blob in manifest.parse().references()[0] or [store.add_blob(b"{}")]:
                with store.open_blob(blob) as stream:
                    sink.put_blob(blob, stream)
        sink.put_manifest(subject, "1")
        sink.put_manifest(signature, None)
    with open_archive(path) as archive:
        assert {image.target.digest for image in archive.images} == {subject.digest, signature.digest}


def _tar(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            if name in ("blobs", "blobs/sha256"):
                info.type = tarfile.DIRTYPE
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()
