"""`pull`: from a registry into the store."""

from collections import Counter
from pathlib import Path

import pytest

from entrepot.actions.errors import BadRequest
from entrepot.actions.events import ActionEvent, LayerPlanned, PullStarted, TagPulled
from entrepot.actions.pull import pull, pull_all_tags
from entrepot.actions.push import push
from entrepot.actions.tag import tag
from entrepot.client.settings import ClientSettings
from entrepot.content.errors import ManifestNotFound
from entrepot.images.sink import StoreSink
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.transfer.errors import NoMatchingPlatform
from tests.unit.images.makers import add_image, add_index


@pytest.fixture
def elsewhere(tmp_path: Path, repository: str, settings: ClientSettings) -> ImageStore:
    """What was pushed from: `1`, `2` and the index `multi`."""
    made = ImageStore(tmp_path / "elsewhere")
    add_image(made, f"{repository}:1", layers=("base", "one"))
    add_image(made, f"{repository}:2", layers=("base", "two"))
    add_index(made, f"{repository}:multi", "amd64", "arm64")
    push(repository, all_tags=True, store=made, settings=settings)
    return made


def test_an_image_comes_whole_and_its_layers_are_told_first(
    elsewhere: ImageStore, store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    told: list[ActionEvent] = []
    pulled = pull(f"{repository}:1", store=store, settings=settings, on_event=told.append)
    assert pulled.image.id == elsewhere.resolve(f"{repository}:1").id
    assert pulled.updated
    assert isinstance(told[0], PullStarted)
    assert isinstance(told[-1], TagPulled)
    second: list[ActionEvent] = []
    pull(f"{repository}:2", store=store, settings=settings, on_event=second.append)
    assert [event.exists for event in second if isinstance(event, LayerPlanned)] == [True, False]
    assert not pull(f"{repository}:2", store=store, settings=settings).updated


def test_the_store_is_asked_once_for_each_blob(
    elsewhere: ImageStore,
    store: ImageStore,
    repository: str,
    settings: ClientSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: Counter[Digest] = Counter()
    has_blob = StoreSink.has_blob

    def counting(sink: StoreSink, descriptor: Descriptor) -> bool:
        asked[descriptor.digest] += 1
        return has_blob(sink, descriptor)

    monkeypatch.setattr(StoreSink, "has_blob", counting)
    pulled = pull(f"{repository}:1", store=store, settings=settings)
    assert asked == Counter(pulled.image.blobs)


def test_of_an_index_the_platform_asked_for_or_all(
    elsewhere: ImageStore, store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    name = f"{repository}:multi"
    one = pull(name, platform="linux/arm64", store=store, settings=settings)
    assert str(one.image.platform) == "linux/arm64"
    assert one.digest == elsewhere.resolve(name).target.digest != one.image.target.digest
    whole = pull(name, all_platforms=True, store=store, settings=settings)
    assert whole.image.target.digest == whole.digest
    with pytest.raises(NoMatchingPlatform):
        pull(name, platform="linux/s390x", store=store, settings=settings)


def test_all_tags_are_listed(
    elsewhere: ImageStore, store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    tag(f"{repository}:1", f"{repository}:3", store=elsewhere)
    pulled = pull_all_tags(repository, store=store, settings=settings)
    assert [one.reference.tag for one in pulled] == ["1", "2", "multi"]
    assert {name.tag for image in store.list() for name in image.tags} == {"1", "2", "multi"}


def test_what_makes_no_sense_or_is_not_there_changes_nothing(
    store: ImageStore, repository: str, settings: ClientSettings
) -> None:
    with pytest.raises(BadRequest):
        pull_all_tags(f"{repository}:1", store=store, settings=settings)
    with pytest.raises(BadRequest):
        pull(repository, platform="linux/amd64", all_platforms=True, store=store, settings=settings)
    with pytest.raises(ManifestNotFound):
        pull(f"{repository}:1", store=store, settings=settings)
    assert store.list() == []
