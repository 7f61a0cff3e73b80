"""Numbers and choices the services hold to. The configuration fills them in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal

from entrepot.oci.manifest import ManifestLimits

__all__ = ["DEFAULT_LIMITS", "RepositoryLimits", "Sparse"]

Sparse = Literal["off", "index", "all"]


@dataclass(frozen=True, slots=True)
class RepositoryLimits:
    """Limits of manifests, blobs and uploads, and how long things are kept."""

    manifest: ManifestLimits = field(default_factory=ManifestLimits)
    """What a single manifest may cost."""
    index_depth: int = 8
    """Indexes inside each other."""
    sparse: Sparse = "off"
    """Which references of a manifest may be missing: none, an index's manifests, or all."""
    tags_per_push: int = 32
    """Tags given to a manifest in one request."""
    blob_bytes: int = 64 * 1024**3
    """Size of one blob."""
    uploads_per_principal: int | None = 32
    """Uploads one account may write to at once; whoever uses a registry in open mode is not counted."""
    upload_ttl_s: float = 24 * 3600
    """An upload that nobody has written to for so long is forgotten."""
    claim_s: float = 60
    """How long an upload stays with a request whose process is not heard of any more."""
    lease_s: float = 24 * 3600
    """A blob that was just pushed, or asked for by somebody who may push, is not collected for so long."""
    trash_delay_s: float = 3600
    """Replaced or collected bytes are kept for so long, for those who are reading them."""


DEFAULT_LIMITS: Final = RepositoryLimits()
