"""`image diff`: what tells two images apart."""

from entrepot.actions.image_diff import diff_images
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_files_layers_and_settings_are_compared(store: ImageStore) -> None:
    add_image(store, "app:1", layers=("base", "one"), Cmd=["/a"])
    add_image(store, "app:2", layers=("base", "two"), Cmd=["/b"])
    found = diff_images("app:1", "app:2", store=store)
    assert [(each.kind, each.path, each.size_before, each.size_after) for each in found.files] == [
        ("D", "/one.txt", 3, 0), ("A", "/two.txt", 0, 3),
    ]  # fmt: skip
    assert [layer.same for layer in found.layers] == [True, False]
    assert ["/a"] in [before for before, _ in found.config.values()]


def test_an_image_is_like_itself(store: ImageStore) -> None:
    add_image(store, "app:1")
    found = diff_images("app:1", "app:1", store=store)
    assert (found.files, found.config) == ((), {})
