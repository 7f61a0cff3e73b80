"""The seam for content that is not here but may be found elsewhere: pull-through of another registry.

A read that finds nothing asks `on_miss` once before it answers 404.
"""

from __future__ import annotations

from typing import Protocol

from entrepot.oci.digest import Digest
from entrepot.server.repos.blobs import StoredBlob
from entrepot.server.repos.manifests import StoredManifest


class OnMiss(Protocol):
    """Where else to look. `namespace` is the registry containerd names in `?ns=`, None without it."""

    async def manifest(
        self, repository: str, reference: str | Digest, *, namespace: str | None
    ) -> StoredManifest | None:
        """The manifest, stored here by now; None when it is nowhere. May raise Unavailable."""
        ...

    async def blob(self, repository: str, digest: Digest, *, namespace: str | None) -> StoredBlob | None:
        """The blob, stored here by now; None when it is nowhere. May raise Unavailable."""
        ...


class NowhereElse:
    """A registry that holds only what was pushed to it."""

    async def manifest(
        self,
        repository: str,  # noqa: ARG002 - the protocol's signature
        reference: str | Digest,  # noqa: ARG002
        *,
        namespace: str | None,  # noqa: ARG002
    ) -> StoredManifest | None:
        return None

    async def blob(
        self,
        repository: str,  # noqa: ARG002
        digest: Digest,  # noqa: ARG002
        *,
        namespace: str | None,  # noqa: ARG002
    ) -> StoredBlob | None:
        return None
