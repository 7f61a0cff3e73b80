"""`mutate`: another config over the same layers."""

import pytest

from entrepot.actions.mutate import InvalidMutation, Mutation, mutate_image
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_what_is_named_changes_and_nothing_else(store: ImageStore) -> None:
    image = add_image(store, "app:1", Env=["A=1", "B=2"], Labels={"a": "1"}, Cmd=["/bin/app"])
    changed = mutate_image(
        "app:1", mutation=Mutation(env={"A": None, "C": "3"}, labels={"b": "2"}, user="app"), store=store
    )
    runtime = store.config(changed).document["config"]
    assert (runtime["Env"], runtime["Labels"]) == (["B=2", "C=3"], {"a": "1", "b": "2"})
    assert (runtime["User"], runtime["Cmd"]) == ("app", ["/bin/app"])
    assert changed.diff_ids == image.diff_ids
    assert store.resolve("app:1").id == changed.id
    assert store.resolve(str(image.id)).is_dangling


def test_the_same_change_gives_the_same_image(store: ImageStore) -> None:
    add_image(store, "app:1")
    change = Mutation(platform="linux/arm64")
    first = mutate_image("app:1", "a", mutation=change, store=store)
    assert mutate_image("app:1", "b", mutation=change, store=store).id == first.id
    assert str(first.platform) == "linux/arm64"


def test_a_name_no_variable_can_have_is_refused(store: ImageStore) -> None:
    add_image(store, "app:1")
    with pytest.raises(InvalidMutation):
        mutate_image("app:1", mutation=Mutation(env={"A=B": "1"}), store=store)
