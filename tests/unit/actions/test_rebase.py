"""`rebase`: other layers below."""

import pytest

from entrepot.actions.rebase import BaseUnknown, NotBasedOn, rebase_image
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_the_layers_of_the_base_are_replaced(store: ImageStore) -> None:
    add_image(store, "base:1", layers=("old",))
    new = add_image(store, "base:2", layers=("new", "newer"), architecture="arm64")
    image = add_image(store, "app:1", layers=("old", "own"), Cmd=["/bin/app"])
    rebased = rebase_image("app:1", "base:2", "app:2", old_base="base:1", store=store)
    assert rebased.diff_ids == (*new.diff_ids, image.diff_ids[1])
    assert str(rebased.platform) == "linux/arm64"
    assert store.config(rebased).document["config"]["Cmd"] == ["/bin/app"]
    assert rebase_image("app:1", "base:2", "app:3", store=store).diff_ids == rebased.diff_ids


def test_another_base_than_it_has_is_refused(store: ImageStore) -> None:
    add_image(store, "base:1", layers=("old",))
    add_image(store, "app:1", layers=("own",))
    with pytest.raises(NotBasedOn):
        rebase_image("app:1", "base:1", old_base="base:1", store=store)
    with pytest.raises(BaseUnknown):
        rebase_image("app:1", "base:1", store=store)
