"""`push`: from the store to a registry."""

import pytest

from entrepot.actions.errors import BadRequest
from entrepot.actions.listing import list_tags
from entrepot.actions.push import NothingToPush, push
from entrepot.client.errors import TagExists
from entrepot.client.settings import ClientSettings
from entrepot.images.errors import PlatformMismatch
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image, add_index


def test_a_tag_is_sent_and_its_image_gets_a_name_by_digest(
    store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    image = add_image(store, f"{repository}:1")
    (pushed,) = push(f"{repository}:1", store=store, settings=settings)
    assert (pushed.digest, pushed.size) == (image.target.digest, image.target.size)
    assert [name.digest for name in store.resolve(f"{repository}:1").repo_digests] == [pushed.digest]
    assert list_tags(repository, store=store, settings=settings) == ["1"]


def test_if_absent_never_moves_a_tag(store: ImageStore, repository: str, settings: ClientSettings) -> None:
    name = f"{repository}:1"
    add_image(store, name)
    (first,) = push(name, if_absent=True, store=store, settings=settings)
    (again,) = push(name, if_absent=True, store=store, settings=settings)
    assert (first.existed, again.existed) == (False, True)
    add_image(store, name, layers=("other",))
    with pytest.raises(TagExists):
        push(name, if_absent=True, store=store, settings=settings)


def test_one_platform_of_an_index(store: ImageStore, repository: str, settings: ClientSettings) -> None:
    index = add_index(store, f"{repository}:1", "amd64", "arm64")
    (pushed,) = push(f"{repository}:1", platform="linux/arm64", store=store, settings=settings)
    assert pushed.digest == store.resolve("part:arm64").target.digest != index.digest
    with pytest.raises(NothingToPush, match="does not provide"):
        push(f"{repository}:1", platform="linux/s390x", store=store, settings=settings)


def test_what_cannot_be_pushed_is_said_before_anything_is_asked(
    store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    with pytest.raises(NothingToPush, match="does not exist locally"):
        push(repository, store=store, settings=settings)
    image = add_image(store, f"{repository}:1")
    with pytest.raises(NothingToPush, match="tag does not exist"):
        push(f"{repository}:2", store=store, settings=settings)
    with pytest.raises(BadRequest):
        push(f"{repository}@{image.target.digest}", store=store, settings=settings)
    with pytest.raises(BadRequest):
        push(f"{repository}:1", all_tags=True, store=store, settings=settings)
    with pytest.raises(PlatformMismatch):
        push(f"{repository}:1", platform="linux/s390x", store=store, settings=settings)
