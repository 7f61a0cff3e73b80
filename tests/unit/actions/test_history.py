"""`history`: how an image came about."""

import pytest

from entrepot.actions.history import history
from entrepot.images.errors import PlatformMismatch
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_the_last_step_comes_first_with_the_image_it_made(store: ImageStore) -> None:
    base = add_image(store, "base:1", layers=("a",))
    image = add_image(store, "app:1", layers=("a", "b"), parent=base.id)
    rows = history("app:1", store=store)
    assert [(row.id, row.created_by) for row in rows] == [(image.id, "step 1"), (base.id, "step 0")]
    assert [row.size for row in rows] == list(reversed(store.layer_sizes(image)))


def test_of_another_platform_there_is_none(store: ImageStore) -> None:
    add_image(store, "app:1", architecture="s390x")
    with pytest.raises(PlatformMismatch):
        history("app:1", platform="linux/amd64", store=store)
