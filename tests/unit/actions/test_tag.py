"""`tag`: another name for an image."""

import pytest

from entrepot.actions.errors import BadRequest
from entrepot.actions.tag import tag
from entrepot.images.errors import NoSuchImage
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_a_name_is_added_and_taken_from_who_had_it(store: ImageStore) -> None:
    first, second = add_image(store, "a:1"), add_image(store, "b:1", layers=("other",))
    assert tag("a:1", "b:1", store=store).id == first.id
    assert [name.familiar() for name in store.resolve(str(first.id)).tags] == ["a:1", "b:1"]
    assert store.resolve(str(second.id)).is_dangling


@pytest.mark.parametrize("target", ["UPPER", f"a@sha256:{'0' * 64}"])
def test_names_an_image_cannot_have_are_refused(store: ImageStore, target: str) -> None:
    add_image(store, "a:1")
    with pytest.raises(BadRequest):
        tag("a:1", target, store=store)
    with pytest.raises(NoSuchImage):
        tag("missing", "b", store=store)
