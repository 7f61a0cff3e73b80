"""`inspect` of an image."""

import pytest

from entrepot.actions.inspect import inspect_image
from entrepot.images.errors import NoSuchImage, PlatformMismatch
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image, add_index


def test_the_document_has_what_the_config_says(store: ImageStore) -> None:
    image = add_image(store, "app:1", layers=("a", "b"), Cmd=["/bin/app"], Labels={"b": "2", "a": "1"})
    document = inspect_image("app:1", store=store)
    assert (document["Id"], document["RepoTags"]) == (str(image.id), ["app:1"])
    assert document["Config"]["Cmd"] == ["/bin/app"]
    assert document["RootFS"]["Layers"] == [str(diff_id) for diff_id in image.diff_ids]
    assert (document["Architecture"], document["Os"]) == ("amd64", "linux")


def test_an_index_lists_its_platforms(store: ImageStore) -> None:
    add_index(store, "multi:1", "amd64", "arm64")
    manifests = inspect_image("multi:1", store=store)["Manifests"]
    assert [one["ImageData"]["Platform"]["architecture"] for one in manifests] == ["amd64", "arm64"]
    assert all(one["Available"] for one in manifests)


def test_what_is_not_here_is_said(store: ImageStore) -> None:
    add_image(store, "app:1", architecture="s390x")
    with pytest.raises(NoSuchImage):
        inspect_image("nope", store=store)
    with pytest.raises(PlatformMismatch):
        inspect_image("app:1", platform="linux/amd64", store=store)
