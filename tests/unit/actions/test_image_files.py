"""Looking into images of the store, through the library."""

from pathlib import Path

import pytest

from entrepot.actions.image_files import HasNoFiles, NoSuchFile, NotAFile, open_image_files, place_of
from entrepot.images.errors import NoSuchImage
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_a_name_is_the_stores_before_a_registrys(store: ImageStore) -> None:
    image = add_image(store, "app:1")
    assert place_of("app:1", store).kind == "store"
    assert place_of(image.id.hex[:12], store).kind == "store"
    assert place_of("app:2", store).kind == "docker"
    assert place_of("oci:dir:name", store).kind == "oci"
    with pytest.raises(NoSuchImage):
        place_of("f" * 64, store)


def test_content_is_read_once_when_its_path_is_asked_for(store: ImageStore) -> None:
    add_image(store, "app:1", layers=("base", "top"))
    with open_image_files("app:1", store=store) as files:
        _, node = files.find("/top.txt")
        assert b"".join(files.content(node)) == b"top"
        assert node.source == 1
        assert b"".join(files.content(files.find("base.txt")[1])) == b"base"


def test_what_is_not_there_is_said(store: ImageStore) -> None:
    add_image(store, "app:1")
    with open_image_files("app:1", store=store) as files:
        with pytest.raises(NoSuchFile):
            files.find("/none")
        with pytest.raises(NotAFile):
            list(files.content(files.find("/")[1]))


def test_an_encrypted_layer_is_named(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    add_image(store, "app:1")
    with open_image_files("app:1", store=store) as files:
        import msgspec

        sealed = msgspec.structs.replace(
            files.layers[0], media_type="application/vnd.oci.image.layer.v1.tar+gzip+encrypted"
        )
        monkeypatch.setattr(type(files), "layers", (sealed,))
        with pytest.raises(HasNoFiles, match="layer 1 of app:1 is encrypted"):
            files.tree()


def test_scratch_files_are_gone_afterwards(store: ImageStore) -> None:
    add_image(store, "app:1")
    with open_image_files("app:1", store=store) as files:
        files.find("/base.txt")
    assert list(Path(store.paths.tmp).iterdir()) == []
