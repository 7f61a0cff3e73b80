"""`tags`, `ls` and `delete`."""

from pathlib import Path

import pytest

from entrepot.actions.copy import copy
from entrepot.actions.listing import delete, list_repositories, list_tags
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import ManifestNotFound
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_tags_that_fit_and_a_tag_that_goes(
    store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    add_image(store, "app:1")
    for tag in ("1.0", "1.1", "2.0"):
        copy("store:app:1", f"{repository}:{tag}", store=store, settings=settings)
    assert list_tags(repository, patterns=["1.*"], store=store, settings=settings) == ["1.0", "1.1"]
    delete(f"{repository}:1.0", store=store, settings=settings)
    assert list_tags(repository, store=store, settings=settings) == ["1.1", "2.0"]
    with pytest.raises(ManifestNotFound):
        delete(f"{repository}:1.0", store=store, settings=settings)


def test_repositories_of_a_registry_and_of_the_store(
    store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    add_image(store, "app:1", "team/tool:1")
    copy("store:app:1", f"{repository}:1", store=store, settings=settings)
    host, _, name = repository.partition("/")
    prefix = name.partition("/")[0]
    assert list_repositories(f"{host}/{prefix}", store=store, settings=settings) == [name]
    assert list_repositories("store:", store=store, settings=settings) == ["app", "team/tool"]


def test_an_image_of_a_layout_goes_with_its_blobs(
    store: ImageStore, tmp_path: Path, settings: ClientSettings
) -> None:
    layout = tmp_path / "layout"
    for name in ("a", "b"):
        add_image(store, f"{name}:1", layers=(name,))
        copy(f"store:{name}:1", f"oci:{layout}:{name}", store=store)
    delete(f"oci:{layout}:a", store=store, settings=settings)
    assert list_tags(f"oci:{layout}", store=store) == ["b"]
    assert len(list((layout / "blobs" / "sha256").iterdir())) == 3
