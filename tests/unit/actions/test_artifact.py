"""Files in a registry: put, got back, listed, attached; and titles that want to be somewhere else."""

from pathlib import Path

import oras.client
import pytest

from entrepot.actions.artifact import TITLE, attach, get, list_artifacts, put
from entrepot.actions.signatures import put_bytes
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import ManifestBytes
from entrepot.errors import EntrepotError, InvalidInput, NotFound
from entrepot.images.store import ImageStore
from entrepot.layout.directory import ImageLayout
from entrepot.oci import mediatype
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_manifest


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_bytes(b"a")
    (tmp_path / "sub" / "b.json").write_bytes(b"{}" * 1000)
    return tmp_path


def test_files_come_back_as_they_were_and_oras_reads_them(
    files: Path, repository: str, store: ImageStore, settings: ClientSettings
) -> None:
    done = put(
        f"{repository}:1", ["a.txt", "sub/b.json:application/json"], artifact_type="application/x",
        annotations={"k": "v"}, store=store, settings=settings,
    )  # fmt: skip
    got = get(f"{repository}@{done.digest}", files / "out", store=store, settings=settings)
    assert [one.path for one in got] == [files / "out/a.txt", files / "out/sub/b.json"]
    assert (files / "out/sub/b.json").read_bytes() == b"{}" * 1000
    get(f"{repository}:1", files / "out", store=store, settings=settings)
    pulled = oras.client.OrasClient(insecure=True).pull(target=f"{repository}:1", outdir=str(files / "oras"))
    assert sorted(Path(one).read_bytes() for one in pulled) == sorted([b"a", b"{}" * 1000])


def test_what_oras_put_is_got(
    files: Path, repository: str, store: ImageStore, settings: ClientSettings
) -> None:
    oras.client.OrasClient(insecure=True).push(
        target=f"{repository}:1", files=["./a.txt:text/plain"], disable_path_validation=True
    )
    got = get(f"{repository}:1", files / "out", store=store, settings=settings)
    assert [one.path.read_bytes() for one in got] == [b"a"]


def test_what_is_attached_is_listed_by_type(
    files: Path, repository: str, store: ImageStore, settings: ClientSettings
) -> None:
    put(f"{repository}:1", ["a.txt"], store=store, settings=settings)
    first = attach(
        f"{repository}:1", ["a.txt"], artifact_type="application/x", store=store, settings=settings
    )
    attach(f"{repository}:1", [], artifact_type="application/y", store=store, settings=settings)
    listed = list_artifacts(f"{repository}:1", store=store, settings=settings)
    assert sorted(one.artifact_type or "" for one in listed) == ["application/x", "application/y"]
    only = list_artifacts(f"{repository}:1", artifact_type="application/x", store=store, settings=settings)
    assert [one.digest for one in only] == [first.digest]


def test_what_cannot_be_put_or_got_is_said(
    files: Path, repository: str, store: ImageStore, settings: ClientSettings
) -> None:
    with pytest.raises(InvalidInput, match="is a directory"):
        put(f"{repository}:1", ["sub"], store=store, settings=settings)
    with pytest.raises(InvalidInput, match="registries and image layouts"):
        put("store:x", ["a.txt"], store=store, settings=settings)
    with pytest.raises(FileNotFoundError):
        put(f"{repository}:1", ["missing:text/plain"], store=store, settings=settings)
    put(f"{repository}:1", [], store=store, settings=settings)
    with pytest.raises(NotFound, match="no files with names"):
        get(f"{repository}:1", files, store=store, settings=settings)


def _titled(folder: Path, *titles: str) -> str:
    """An image layout with an artifact whose files have these titles."""
    layout = ImageLayout(folder, create=True)
    config = put_bytes(layout, b"{}", mediatype.OCI_EMPTY)
    layers = [put_bytes(layout, title.encode() + b"!", "text/plain", {TITLE: title}) for title in titles]
    layout.put_manifest(ManifestBytes.from_manifest(build_manifest(config, layers)), "1")
    return f"oci:{folder}:1"


@pytest.mark.parametrize("title", ["../up", "a/../../up", "..", ".", "/", "a/.."])
def test_no_title_leaves_the_folder(
    title: str, tmp_path: Path, store: ImageStore, settings: ClientSettings
) -> None:
    place = _titled(tmp_path / "layout", "fine", title)
    with pytest.raises(EntrepotError):
        get(place, tmp_path / "in" / "out", store=store, settings=settings)
    assert not (tmp_path / "in").exists()
    assert not (tmp_path / "up").exists()


def test_an_absolute_title_is_below_the_folder_and_links_in_it_are_not_followed(
    tmp_path: Path, store: ImageStore, settings: ClientSettings
) -> None:
    place = _titled(tmp_path / "layout", "/etc/name")
    got = get(place, tmp_path / "out", store=store, settings=settings)
    assert got[0].path == tmp_path / "out/etc/name"
    (tmp_path / "out" / "link").symlink_to(tmp_path)
    (tmp_path / "out" / "file").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=r"link|directory"):
        get(_titled(tmp_path / "two", "link/x"), tmp_path / "out", store=store, settings=settings)
    assert not (tmp_path / "x").exists()
    get(_titled(tmp_path / "three", "file"), tmp_path / "out", store=store, settings=settings)
    assert (tmp_path / "out" / "file").read_bytes() == b"file!"
    assert not (tmp_path / "victim").exists()


def test_a_file_that_is_not_what_was_promised_leaves_nothing(
    tmp_path: Path, store: ImageStore, settings: ClientSettings
) -> None:
    place = _titled(tmp_path / "layout", "a")
    digest = Digest.of(b"a!")
    (tmp_path / "layout" / "blobs" / "sha256" / digest.hex).write_bytes(b"b!")
    with pytest.raises(EntrepotError):
        get(place, tmp_path / "out", store=store, settings=settings)
    assert list((tmp_path / "out").iterdir()) == []
