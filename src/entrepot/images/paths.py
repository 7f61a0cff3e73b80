"""Where things are. An OCI image layout, and beside it what only this program reads.

<store>/
  oci-layout
  index.json                  one descriptor a name; unnamed ones are untagged images
  blobs/sha256/<hex>          complete and verified, always
  entrepot/
    lock                      flock: shared to begin using a blob, exclusive to change or collect
    facts.json                what is worth remembering of a digest (sizes, IDs); can be rebuilt
    parents.json              image ID → the image it was committed from
    partial/sha256-<hex>      downloads that stopped; the next run goes on from here
    leases/<random>           flocked by a process at work; lists blobs it counts on
    tmp/                      being written; nothing here is read by name
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from entrepot.oci.digest import Digest


class StorePaths(msgspec.Struct, frozen=True):
    """Paths below one store. Only strict types become path parts."""

    root: Path

    @property
    def layout(self) -> Path:
        return self.root / "oci-layout"

    @property
    def index(self) -> Path:
        return self.root / "index.json"

    @property
    def blobs(self) -> Path:
        return self.root / "blobs"

    @property
    def own(self) -> Path:
        return self.root / "entrepot"

    @property
    def lock(self) -> Path:
        return self.own / "lock"

    @property
    def facts(self) -> Path:
        return self.own / "facts.json"

    @property
    def parents(self) -> Path:
        return self.own / "parents.json"

    @property
    def partials(self) -> Path:
        return self.own / "partial"

    @property
    def leases(self) -> Path:
        return self.own / "leases"

    @property
    def tmp(self) -> Path:
        return self.own / "tmp"

    def blob(self, digest: Digest) -> Path:
        return self.blobs / digest.algorithm / digest.hex

    def partial(self, digest: Digest) -> Path:
        return self.partials / f"{digest.algorithm}-{digest.hex}"
