"""`append`: a layer on top."""

import io
from pathlib import Path

import pytest

from entrepot.actions.append import append_layer
from entrepot.actions.errors import FileUnusable
from entrepot.actions.import_ import NotATar
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from tests.support.images import layer_tar
from tests.unit.images.makers import add_image


def test_a_tar_is_taken_byte_for_byte(store: ImageStore) -> None:
    base = add_image(store, "app:1")
    tar = layer_tar({"etc/x": b"1"})
    image = append_layer("app:1", io.BytesIO(tar), "app:2", store=store)
    assert image.diff_ids == (*base.diff_ids, Digest.of(tar))
    assert [name.familiar() for name in image.tags] == ["app:2"]
    assert store.config(image).history[-1].created_by == "append -"


def test_a_directory_gives_the_same_layer_each_time(store: ImageStore, tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "x").write_bytes(b"1")
    made = [
        append_layer("scratch", folder, name, prefix="opt", timestamp_s=1, store=store).id
        for name in ("a", "b")
    ]
    assert made[0] == made[1]


def test_what_is_no_layer_leaves_nothing(store: ImageStore, tmp_path: Path) -> None:
    with pytest.raises(NotATar):
        append_layer("scratch", io.BytesIO(b"no tar" * 200), "a", store=store)
    with pytest.raises(FileUnusable):
        append_layer("scratch", tmp_path / "none", "a", store=store)
    assert store.list() == []
    store.collect()
    assert list(store.blobs.all()) == []
