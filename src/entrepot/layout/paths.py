"""Where the files of an image layout are, and what this program keeps beside them.

<root>/
  oci-layout
  index.json                  replaced as a whole, under the lock
  blobs/<algorithm>/<hex>     complete and verified, always
  .entrepot/                  other tools ignore it (the local store's is `entrepot/`)
    lock                      flock
    partial/<alg>-<hex>       bytes of copies that stopped; the next run goes on from them
    tmp/                      being written; nothing here is read by name
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from entrepot.oci.digest import Digest


class LayoutPaths(msgspec.Struct, frozen=True):
    """Paths below one layout. Only strict types become path parts."""

    root: Path
    own_name: str = ".entrepot"

    @property
    def label(self) -> str:
        """What messages call the place."""
        return str(self.root)

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
        return self.root / self.own_name

    @property
    def lock(self) -> Path:
        return self.own / "lock"

    @property
    def partials(self) -> Path:
        return self.own / "partial"

    @property
    def tmp(self) -> Path:
        return self.own / "tmp"

    def blob(self, digest: Digest) -> Path:
        return self.blobs / digest.algorithm / digest.hex

    def partial(self, digest: Digest) -> Path:
        return self.partials / f"{digest.algorithm}-{digest.hex}"
