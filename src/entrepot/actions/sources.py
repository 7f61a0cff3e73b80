"""A repository as it was at a time, as a place to copy from."""

from __future__ import annotations

from entrepot.client.mirrors import MirroredRepository
from entrepot.client.repository import Repository
from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest


class AsOf:
    """A repository as it was at a time (RFC 3339): also what was deleted since."""

    def __init__(self, repository: Repository | MirroredRepository, at: str) -> None:
        self._repository = repository
        self._at = at

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        return self._repository.get_manifest_at(reference, self._at)

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return self._repository.open_blob(descriptor, offset=offset)
