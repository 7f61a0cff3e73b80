"""`manifest inspect`: a list in progress, else the registry's, else the store's; and `manifest rm`."""

from typing import Any

import pytest

from entrepot.actions.copy import copy
from entrepot.actions.manifest_create import create_manifest
from entrepot.actions.manifest_inspect import NoSuchManifest, inspect_manifest
from entrepot.actions.manifest_lists import NoSuchManifestList
from entrepot.actions.manifest_rm import remove_manifest
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_the_nearest_is_shown(store: ImageStore, repository: str, settings: ClientSettings) -> None:
    def shown(name: str) -> Any:
        return inspect_manifest(name, store=store, settings=settings)

    image = add_image(store, "app:1")
    copy("store:app:1", f"{repository}:1", store=store, settings=settings)
    assert shown(f"{repository}:1")["config"]["digest"] == str(image.id)
    create_manifest(f"{repository}:list", [f"{repository}:1"], store=store, settings=settings)
    assert shown(f"{repository}:list")["manifests"][0]["digest"] == str(image.target.digest)
    remove_manifest(f"{repository}:list", store=store)
    with pytest.raises(NoSuchManifest):
        shown(f"{repository}:list")
    with pytest.raises(NoSuchManifestList):
        remove_manifest(f"{repository}:list", store=store)
