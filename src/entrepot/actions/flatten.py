"""`flatten`: all layers of an image as one. What later layers deleted or replaced is gone for good."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.commit import store_stream
from entrepot.actions.mutate import target_names
from entrepot.actions.places import the_store
from entrepot.images.image import Image
from entrepot.images.snapshots import Snapshots
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.layers.diff import write_tree
from entrepot.layers.reproducible import creation_time, source_date_epoch
from entrepot.layers.tar_writer import TarWriter
from entrepot.layers.union import Union
from entrepot.oci.imageconfig import HistoryEntry


def flatten_image(
    name: str,
    target: str | None = None,
    *,
    timestamp_s: int | None = None,
    store: ImageStore | Path | str | None = None,
) -> Image:
    """A new image with the config of `name` and one layer with its merged files, tagged `target` (default:
    `name`).

    Raises NoSuchImage, InvalidReference, and what unpacking raises.
    """
    place = the_store(store)
    image = place.resolve(name)
    epoch_s = source_date_epoch() if timestamp_s is None else timestamp_s
    snapshots = Snapshots(place)
    with snapshots.in_use(), place.lease() as lease:
        layers = snapshots.ensure(image)
        with Union(layers) as tree:
            layer, diff_id = store_stream(place, lambda writer: _write(writer, tree), lease, epoch_s=epoch_s)
        created = print_time(creation_time(epoch_s))
        entry = HistoryEntry(created=created, created_by=f"flatten {image}")
        config = place.config(image).with_changes(diff_ids=[diff_id], history=[entry], created=created)
        return place.create_image(config, [layer], names=target_names(name, target, image), lease=lease)


def _write(writer: TarWriter, tree: Union) -> None:
    write_tree(writer, tree)
