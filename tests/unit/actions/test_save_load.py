"""`save` and `load`: into one archive and out of it, the same bytes."""

import io
import json
import tarfile
from pathlib import Path

import pytest

from entrepot.actions.errors import FileUnusable
from entrepot.actions.load import load
from entrepot.actions.save import NoExportTarget, save
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from entrepot.oci.platform import Platform
from entrepot.transfer.errors import NoMatchingPlatform
from tests.unit.images.makers import add_image, add_index


@pytest.fixture
def other(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "other")


def test_what_was_saved_is_loaded_under_its_names(
    store: ImageStore, other: ImageStore, tmp_path: Path
) -> None:
    image = add_image(store, "app:1", "app:2", layers=("a", "b"))
    save(["app"], tmp_path / "app.tar", store=store)
    (loaded,) = load(tmp_path / "app.tar", store=other)
    assert loaded.image.target == image.target
    assert [name.familiar() for name in loaded.references] == ["app:1", "app:2"]
    assert other.collect().blobs == ()
    save(["app"], tmp_path / "again.tar", store=other)
    assert (tmp_path / "again.tar").read_bytes() == (tmp_path / "app.tar").read_bytes()


def test_a_name_that_moves_is_told(store: ImageStore, other: ImageStore, tmp_path: Path) -> None:
    add_image(store, "app:1", layers=("new",))
    before = add_image(other, "app:1", layers=("old",))
    save(["app:1"], tmp_path / "app.tar", store=store)
    (loaded,) = load(tmp_path / "app.tar", store=other)
    assert [(name.familiar(), image_id) for name, image_id in loaded.displaced] == [("app:1", before.id)]


def test_one_platform_of_an_index_keeps_what_the_index_says_of_it(store: ImageStore) -> None:
    add_index(store, "multi:1", "amd64", "arm64")
    out = io.BytesIO()
    save(["multi:1"], out, platforms=["linux/arm64"], archive_format="oci", store=store)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        (entry,) = json.load(archive.extractfile("index.json"))["manifests"]  # type: ignore[arg-type]
        assert entry["platform"] == {"architecture": "arm64", "os": "linux"}
        assert len([name for name in archive.getnames() if name.startswith("blobs/sha256/")]) == 3


def test_several_platforms_are_a_smaller_index(store: ImageStore, other: ImageStore, tmp_path: Path) -> None:
    whole = add_index(store, "multi:1", "amd64", "arm64", "s390x")
    save(["multi:1"], tmp_path / "two.tar", platforms=["linux/arm64", "linux/amd64"], store=store)
    (loaded,) = load(tmp_path / "two.tar", store=other)
    children = other.get_manifest(loaded.image.target.digest).parse().references()[1]
    assert {str(child.platform) for child in children} == {"linux/amd64", "linux/arm64"}
    assert loaded.image.target.digest != whole.digest
    (part,) = load(tmp_path / "two.tar", platforms=["linux/arm64"], store=other)
    assert part.image.platform == Platform.parse("linux/arm64")


def test_a_platform_that_is_not_there_is_told(store: ImageStore, other: ImageStore, tmp_path: Path) -> None:
    add_image(store, "app:1")
    add_index(store, "multi:1", "amd64")
    for name in ("app:1", "multi:1"):
        with pytest.raises(NoExportTarget):
            save([name], io.BytesIO(), platforms=["linux/s390x"], store=store)
    save(["app:1"], tmp_path / "app.tar", store=store)
    with pytest.raises(NoMatchingPlatform):
        load(tmp_path / "app.tar", platforms=["linux/s390x"], store=other)
    assert other.list() == []


def test_places_that_cannot_be_used_are_said_at_once(store: ImageStore, tmp_path: Path) -> None:
    add_image(store, "app:1")
    with pytest.raises(FileUnusable, match="is a directory"):
        save(["app:1"], tmp_path, store=store)
    with pytest.raises(FileUnusable, match="no such file"):
        load(tmp_path / "none.tar", store=store)


def test_a_damaged_blob_is_neither_saved_nor_leaves_a_file(store: ImageStore, tmp_path: Path) -> None:
    image = add_image(store, "app:1")
    layer = store.manifest(image).layers[0].digest
    store.blobs.path(layer).write_bytes(b"x" * store.manifest(image).layers[0].size)
    with pytest.raises(Exception, match=str(Digest.parse(str(layer)))):
        save(["app:1"], tmp_path / "app.tar", store=store)
    assert not (tmp_path / "app.tar").exists()
