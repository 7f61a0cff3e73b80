"""`flatten`: one layer of all."""

import io
import tarfile

from entrepot.actions.flatten import flatten_image
from entrepot.images.store import ImageStore
from entrepot.layers.compression import inflated_chunks
from tests.unit.images.makers import add_image


def test_the_files_stay_and_are_one_layer(store: ImageStore) -> None:
    add_image(store, "app:1", layers=("a", "b", "c"), Cmd=["/bin/app"])
    flat = flatten_image("app:1", "flat:1", timestamp_s=1, store=store)
    (layer,) = store.manifest(flat).layers
    with store.open_layer(layer) as file:
        plain = b"".join(inflated_chunks(b"", file))
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        assert sorted(tar.getnames()) == ["a.txt", "b.txt", "c.txt"]
    assert store.config(flat).document["config"]["Cmd"] == ["/bin/app"]
    assert flatten_image("app:1", "again:1", timestamp_s=1, store=store).id == flat.id
