"""How much one copy may do at once and in all."""

from __future__ import annotations

import msgspec

from entrepot.oci.manifest import DEFAULT as DEFAULT_MANIFEST
from entrepot.oci.manifest import ManifestLimits


class TransferLimits(msgspec.Struct, frozen=True):
    """Every wait and every count of a copy."""

    parallel: int = 4
    """Blobs moved at the same time."""
    max_manifests: int = 10_000
    """Manifests in the graph of one reference."""
    max_total_bytes: int | None = None
    """Sum of all blob sizes; None for no limit."""
    interruptions: int = 6
    """How often in a row a blob may break off without bringing a byte before the copy fails."""
    base_delay_s: float = 0.5
    """First pause after an interruption; doubles each time."""
    max_delay_s: float = 20.0
    manifest: ManifestLimits = DEFAULT_MANIFEST


DEFAULT = TransferLimits()
