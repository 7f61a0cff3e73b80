"""What a bill of materials is about, and its components: one a package, with each place it was found in."""

from __future__ import annotations

from datetime import datetime
from uuid import NAMESPACE_URL, UUID, uuid5

from msgspec import Struct

from entrepot.inventory.packages.merge import FoundPackage, Inventory
from entrepot.inventory.packages.package import Package
from entrepot.inventory.sbom.purl import purl_of


class Bill(Struct, frozen=True):
    """An inventory and what it was made of."""

    inventory: Inventory
    name: str
    """The image's name, or the folder's."""
    made_at: datetime
    digest: str = ""
    """The manifest's; empty for a folder."""
    layers: tuple[str, ...] = ()
    """Diff IDs, the lowest first; `FoundPackage.layer` is an index into them."""
    tool_version: str = ""

    def layer_of(self, found: FoundPackage) -> str:
        """Empty for a folder."""
        return self.layers[found.layer] if found.layer < len(self.layers) else ""

    @property
    def uuid(self) -> UUID:
        """The same for the same thing at the same time."""
        return uuid5(NAMESPACE_URL, f"{self.name}\n{self.digest}\n{self.made_at.isoformat()}")


class Component(Struct, frozen=True):
    """One package."""

    package: Package
    purl: str
    places: tuple[FoundPackage, ...]


def components_of(bill: Bill) -> list[Component]:
    """In the order of the inventory."""
    places: dict[tuple[str, ...], list[FoundPackage]] = {}
    for found in bill.inventory.packages:
        places.setdefault(found.package.key, []).append(found)
    return [
        Component(group[0].package, purl_of(group[0].package, bill.inventory.release), tuple(group))
        for group in places.values()
    ]
