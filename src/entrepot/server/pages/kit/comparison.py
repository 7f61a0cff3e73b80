"""What is different between two images. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from entrepot.server.pages.kit.image_view import ConfigView, LayerView

__all__ = ["Difference", "LayerPair", "compare_configs", "compare_layers"]


@dataclass(frozen=True, slots=True)
class LayerPair:
    """A line of the layer table: in both, or only in one."""

    kind: str
    """`same`, `removed` (only in the first), `added` (only in the second)."""
    layer: LayerView


@dataclass(frozen=True, slots=True)
class Difference:
    """A value of the configuration that is not the same; None where there is none."""

    name: str
    before: str | None
    after: str | None


def compare_layers(first: Sequence[LayerView], second: Sequence[LayerView]) -> list[LayerPair]:
    """The common bottom, then what each has on top; a layer both have higher up counts as same too."""
    common = 0
    while common < min(len(first), len(second)) and first[common].digest == second[common].digest:
        common += 1
    elsewhere = {layer.digest for layer in second[common:]} & {layer.digest for layer in first[common:]}
    return [
        *(LayerPair("same", layer) for layer in first[:common]),
        *(LayerPair("removed", layer) for layer in first[common:] if layer.digest not in elsewhere),
        *(LayerPair("same" if layer.digest in elsewhere else "added", layer) for layer in second[common:]),
    ]


def compare_configs(first: ConfigView | None, second: ConfigView | None) -> list[Difference]:
    """Only what differs, by name."""
    before, after = _flat(first), _flat(second)
    return [
        Difference(name, before.get(name), after.get(name))
        for name in dict.fromkeys([*before, *after])
        if before.get(name) != after.get(name)
    ]


def _flat(view: ConfigView | None) -> dict[str, str]:
    if view is None:
        return {}
    found = {"Platform": view.platform, "Created": view.created}
    found |= {name: "\n".join(values) for name, values in view.rows}
    found |= {f"Environment {name}": value for name, value in view.env}
    found |= {f"Label {name}": value for name, value in view.labels}
    return {name: value for name, value in found.items() if value}
