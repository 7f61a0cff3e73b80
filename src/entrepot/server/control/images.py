"""What is in an image: its configuration, and its layers with the command that made each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from entrepot.oci.digest import Digest
from entrepot.server.control.foreign import apart, read_object
from entrepot.server.control.queries.content import ManifestRow
from entrepot.server.control.services import Services
from entrepot.server.storage.errors import BlobMissing

__all__ = ["MAX_CONFIG_BYTES", "ImageLayer", "image_config", "layers_of", "read_blob"]

MAX_CONFIG_BYTES: Final = 512 * 1024
"""Larger configurations are not shown: those of images that run have a few KB."""
_CONFIG_TYPES: Final = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)


@dataclass(frozen=True, slots=True)
class ImageLayer:
    digest: str
    media_type: str
    size: int
    command: str | None


async def image_config(services: Services, repository: str, manifest: ManifestRow) -> dict[str, Any] | None:
    """The configuration's JSON, of a manifest that somebody was shown.

    None for what is no image, too large, or not here.
    """
    descriptor = (await apart(read_object, manifest.body)).get("config")
    if (
        not isinstance(descriptor, dict)
        or descriptor.get("mediaType") not in _CONFIG_TYPES
        or not manifest.config
    ):
        return None
    raw = await read_blob(services, repository, Digest.parse(manifest.config), most=MAX_CONFIG_BYTES)
    return await apart(read_object, raw) or None if raw is not None else None


async def read_blob(services: Services, repository: str, digest: Digest, *, most: int) -> bytes | None:
    """A part of a manifest that somebody was shown. None for one that is larger than `most`, or not here."""
    stored = await services.blobs.find(repository, digest)
    if stored is None or stored.size > most:
        return None
    try:
        chunks = [bytes(chunk) async for chunk in await services.blobs.open(stored)]
    except BlobMissing:
        return None
    return b"".join(chunks)


def layers_of(body: bytes, config: dict[str, Any] | None) -> list[ImageLayer]:
    """In order, each with the history entry that made it (entries without a layer are passed over)."""
    layers = read_object(body).get("layers")
    history = config.get("history") if config else None
    commands = [
        str(entry.get("created_by") or entry.get("comment") or "") or None
        for entry in (history if isinstance(history, list) else [])
        if isinstance(entry, dict) and not entry.get("empty_layer")
    ]
    found = []
    for number, layer in enumerate(layers if isinstance(layers, list) else []):
        if isinstance(layer, dict) and isinstance(layer.get("digest"), str):
            size = layer.get("size")
            found.append(
                ImageLayer(
                    layer["digest"],
                    str(layer.get("mediaType", "")),
                    size if isinstance(size, int) and size >= 0 else 0,
                    commands[number] if number < len(commands) else None,
                )
            )
    return found
