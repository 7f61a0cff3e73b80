"""`rebase`: the same upper layers on another base, without building again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from entrepot.actions.mutate import target_names
from entrepot.actions.places import the_store
from entrepot.errors import Conflict, InvalidInput
from entrepot.images.errors import NoSuchImage
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.layers.reproducible import creation_time, source_date_epoch
from entrepot.oci.annotations import BASE_NAME
from entrepot.oci.imageconfig import HistoryEntry
from entrepot.oci.reference import Reference


class NotBasedOn(Conflict):
    """The image does not begin with the layers of what is said to be its base."""

    code: ClassVar[str] = "not-based-on"


class BaseUnknown(InvalidInput):
    """Nothing says what the image was built on."""

    code: ClassVar[str] = "base-unknown"


def rebase_image(
    name: str,
    new_base: str,
    target: str | None = None,
    *,
    old_base: str | None = None,
    timestamp_s: int | None = None,
    store: ImageStore | Path | str | None = None,
) -> Image:
    """Replace the layers that `name` shares with `old_base` by those of `new_base`. All three are in the
    store.

    Without `old_base`, the one that the image's own label or annotation names, else the longest image of the
    store that
    it begins with. The config stays the image's, the platform becomes the new base's.
    Raises NoSuchImage, NotBasedOn, BaseUnknown, InvalidReference.
    """
    place = the_store(store)
    image, new = place.resolve(name), place.resolve(new_base)
    old = place.resolve(old_base) if old_base else _find_base(place, image)
    shared = len(old.diff_ids)
    if image.diff_ids[:shared] != old.diff_ids:
        raise NotBasedOn(
            f"image {name} does not begin with the {shared} layers of {old_base or old}",
            hint="compare them with: entrepot image diff",
        )
    config, new_config = place.config(image), place.config(new)
    own_layers = place.manifest(image).layers[shared:]
    created = print_time(creation_time(source_date_epoch() if timestamp_s is None else timestamp_s))
    history = [*new_config.history, *own_history(config.history, shared)]
    with place.lease() as lease:
        layers = [*place.manifest(new).layers, *own_layers]
        lease.add([layer.digest for layer in layers])
        rebased = config.with_changes(
            diff_ids=[*new_config.diff_ids, *config.diff_ids[shared:]],
            history=history if config.history or new_config.history else None,
            created=created,
            platform=new_config.platform,
        )
        return place.create_image(rebased, layers, names=target_names(name, target, image), lease=lease)


def own_history(history: Sequence[HistoryEntry], shared_layers: int) -> Sequence[HistoryEntry]:
    """What follows the base's entries: those that made its layers, and the empty ones up to the next
    layer's."""
    seen = 0
    for index, entry in enumerate(history):
        if seen == shared_layers:
            return history[index:]
        seen += not entry.empty_layer
    return ()


def _find_base(place: ImageStore, image: Image) -> Image:
    named = place.manifest(image).annotations.get(BASE_NAME) or place.config(image).labels.get(BASE_NAME)
    if named:
        try:
            return place.resolve(str(Reference.parse(named).with_default_tag()))
        except NoSuchImage as error:
            raise BaseUnknown(
                f"image {image} says it is based on {named}, which is not here",
                hint=f"entrepot pull {named}, or name a base with --old-base",
            ) from error
    candidates = [
        other
        for other in place.list()
        if other.diff_ids
        and len(other.diff_ids) < len(image.diff_ids)
        and image.diff_ids[: len(other.diff_ids)] == other.diff_ids
    ]
    if not candidates:
        raise BaseUnknown(
            f"image {image} does not say what it is based on, and no image here is its beginning",
            hint="name its base with --old-base",
        )
    return max(candidates, key=lambda other: len(other.diff_ids))
