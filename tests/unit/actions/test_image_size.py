"""`size`: layers with the steps that made them."""

from entrepot.actions.image_size import image_size
from entrepot.images.store import ImageStore
from tests.unit.images.makers import add_image


def test_layers_have_their_steps(store: ImageStore) -> None:
    add_image(store, "app:1", layers=("base", "top"))
    found = image_size("app:1", store=store)
    assert [(layer.size, layer.created_by) for layer in found.layers] == [(4, "step 0"), (3, "step 1")]
    assert (found.folders.size, found.layer_bytes, found.waste.wasted_bytes) == (7, 7, 0)
