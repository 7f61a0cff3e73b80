"""`size`: what takes the room in an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from entrepot.actions.image_files import open_image_files
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from entrepot.inventory.files.sizes import FolderSize, Waste, folder_sizes, waste_of


@dataclass(frozen=True, slots=True)
class LayerSize:
    """One layer, lowest first."""

    diff_id: str
    size: int
    """Bytes of its files."""
    created_by: str


@dataclass(frozen=True, slots=True)
class ImageSize:
    layers: tuple[LayerSize, ...]
    folders: FolderSize
    waste: Waste

    @property
    def layer_bytes(self) -> int:
        """Bytes of all files of all layers."""
        return sum(layer.size for layer in self.layers)


def image_size(
    name: str,
    *,
    platform: str | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> ImageSize:
    """Raises what `open_image_files` does, and InvalidLayer."""
    with open_image_files(
        name, platform=platform, insecure=insecure, store=store, settings=settings
    ) as files:
        tree = files.tree()
        steps = [step.created_by for step in files.config.history if not step.empty_layer]
        steps = [""] * max(0, len(files.layers) - len(steps)) + steps
        sizes = files.layer_sizes()
        layers = tuple(LayerSize(*size, step) for size, step in zip(sizes, steps, strict=False))
        return ImageSize(layers, folder_sizes(tree), waste_of(tree))
