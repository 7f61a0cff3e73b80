"""Sources for special needs: some manifests are in hand already; a repository as it was at a time."""

from __future__ import annotations

from collections.abc import Iterable

from entrepot.client.mirrors import MirroredRepository
from entrepot.client.repository import Repository
from entrepot.content.protocols import BlobStream, ManifestBytes, Source
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest


class Prefetched:
    """`source`, without asking it twice for what was read to decide something."""

    def __init__(self, source: Source, manifests: Iterable[ManifestBytes]) -> None:
        self._source = source
        self._manifests = {manifest.digest: manifest for manifest in manifests}

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        held = self._manifests.get(reference) if isinstance(reference, Digest) else None
        return held if held is not None else self._source.get_manifest(reference)

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return self._source.open_blob(descriptor, offset=offset)


class AsOf:
    """A repository as it was at a time (RFC 3339): also what was deleted since."""

    def __init__(self, repository: Repository | MirroredRepository, at: str) -> None:
        self._repository = repository
        self._at = at

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        return self._repository.get_manifest_at(reference, self._at)

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return self._repository.open_blob(descriptor, offset=offset)
