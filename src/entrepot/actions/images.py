"""`images`: what the store holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from entrepot.actions.filters import parse_filters
from entrepot.actions.places import the_store
from entrepot.images.image import Image
from entrepot.images.store import ImageStore


def list_images(
    reference: str | None = None,
    *,
    filters: Sequence[str] = (),
    all_images: bool = False,
    store: ImageStore | Path | str | None = None,
) -> list[Image]:
    """Images, newest first, each with the names that `reference` (a name or pattern) and `filters` leave.

    Without `all_images`, untagged images others were committed from are left out.
    Raises InvalidFilter, NoSuchImage (of `before=` and `since=`).
    """
    place = the_store(store)
    wanted = [*filters, *([f"reference={reference}"] if reference else [])]
    chosen = parse_filters(wanted, place)
    images = place.list()
    parents = {image.parent for image in images if image.parent}
    found = []
    for image in images:
        intermediate = not image.tags and not image.repo_digests and image.id in parents
        if not chosen.keeps(image) or (intermediate and not all_images):
            continue
        names = chosen.names(image)
        found.append(
            msgspec.structs.replace(
                image,
                tags=tuple(name for name in names if name.digest is None),
                repo_digests=tuple(name for name in names if name.digest is not None),
            )
        )
    return found
