"""Where things are in the store: an OCI image layout, and beside it what only this program reads.

<store>/
  oci-layout, index.json, blobs/, entrepot/{lock,partial,tmp}      as in `layout.paths`
                              index.json: one descriptor a name; unnamed ones are untagged images
                              lock: shared to begin using a blob, exclusive to change or collect
  entrepot/
    facts.json                what is worth remembering of a digest (sizes, IDs); can be rebuilt
    parents.json              image ID → the image it was committed from
    leases/<random>           flocked by a process at work; lists blobs it counts on
"""

from __future__ import annotations

from pathlib import Path

from entrepot.layout.paths import LayoutPaths


class StorePaths(LayoutPaths, frozen=True):
    """Paths below one store."""

    own_name: str = "entrepot"

    @property
    def label(self) -> str:
        return f"the store {self.root}"

    @property
    def facts(self) -> Path:
        return self.own / "facts.json"

    @property
    def parents(self) -> Path:
        return self.own / "parents.json"

    @property
    def leases(self) -> Path:
        return self.own / "leases"
