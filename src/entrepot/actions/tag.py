"""`tag`: give an image one more name."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.errors import BadRequest
from entrepot.actions.places import the_store
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci.reference import InvalidReference, Reference


def tag(source: str, target: str, *, store: ImageStore | Path | str | None = None) -> Image:
    """Point `target` to the image `source` names. An image that had that name stays, untagged if need be.

    Raises NoSuchImage, BadRequest.
    """
    place = the_store(store)
    reference = parse_target(target)
    place.tag(place.resolve(source), reference)
    return place.resolve(str(reference))


def parse_target(target: str) -> Reference:
    """A name an image can be given. Raises BadRequest."""
    try:
        reference = Reference.parse(target)
    except InvalidReference as error:
        raise BadRequest(
            f'Error parsing reference: "{target}" is not a valid repository/tag: {error.message}'
        ) from error
    if reference.digest is not None:
        raise BadRequest("refusing to create a tag with a digest reference")
    return reference.with_default_tag()
