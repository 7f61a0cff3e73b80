"""`images`: what a list shows."""

from entrepot.actions.images import list_images
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def shown(store: ImageStore, *arguments: str, **options: object) -> list[str]:
    found = list_images(*arguments, store=store, **options)  # type: ignore[arg-type]
    return [" ".join(tag.familiar() for tag in image.tags) or "<none>" for image in found]


def test_the_newest_comes_first_with_the_names_asked_for(store: ImageStore) -> None:
    add_image(store, "old:1", created="2020-01-01T00:00:00Z")
    add_image(store, "new:1", "new:2", layers=("new",), created="2024-01-01T00:00:00Z")
    assert shown(store) == ["new:1 new:2", "old:1"]
    assert shown(store, "new:2") == ["new:2"]
    assert shown(store, filters=["reference=o*"]) == ["old:1"]


def test_untagged_parents_are_shown_when_all_are_asked_for(store: ImageStore) -> None:
    parent = add_image(store, layers=("parent",))
    add_image(store, "child:1", layers=("parent", "child"), parent=parent.id)
    assert shown(store) == ["child:1"]
    assert sorted(shown(store, all_images=True)) == ["<none>", "child:1"]
