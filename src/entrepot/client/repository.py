"""One repository of a registry, as a place for content."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from entrepot.client import blobs, manifests, referrers, tags
from entrepot.client.place import Place
from entrepot.client.transport import Origin
from entrepot.client.uploads import Uploads
from entrepot.content.protocols import BlobStream, ManifestBytes, PutResult
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_repository


class Repository:
    """One repository: Source, Sink, TagStore and ReferrerSource. Thread safe; closed with its registry."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._uploads = Uploads(place)
        # Blobs this run has asked for in vain: putting them needs no second question.
        self._missing: set[Digest] = set()

    @property
    def name(self) -> str:
        """Registry and repository as the user knows them."""
        return self._place.name

    @property
    def repository(self) -> str:
        """Name on the registry; what `mount_blob` of a sibling takes."""
        return self._place.repository

    @property
    def origin(self) -> Origin:
        """Where it is on the wire; equal for repositories blobs can be mounted between."""
        return self._place.session.origin()

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        return manifests.get_manifest(self._place, reference)

    def get_manifest_at(self, reference: str | Digest, at: str) -> ManifestBytes:
        """As it was at a time (RFC 3339). Raises HistoryUnknown where a registry knows only now."""
        return manifests.get_manifest(self._place, reference, at=at)

    def find_manifest(self, reference: str | Digest) -> Descriptor | None:
        """Type, digest and size without the bytes; None when missing."""
        return manifests.find_manifest(self._place, reference)

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return blobs.open_blob(self._place, descriptor, offset=offset)

    def open_unsized(self, digest: Digest) -> blobs.RemoteBlob:
        """A blob of which only the digest is known; not verified."""
        return blobs.open_unsized(self._place, digest)

    def find_blob(self, digest: Digest) -> int | None:
        """Its size; None when missing."""
        return blobs.find_blob(self._place, digest)

    def has_blob(self, descriptor: Descriptor) -> bool:
        found = blobs.has_blob(self._place, descriptor)
        if not found:
            self._missing.add(descriptor.digest)
        return found

    def has_manifest(self, digest: Digest) -> bool:
        return manifests.find_manifest(self._place, digest) is not None

    def blob_offset(self, descriptor: Descriptor) -> int:
        return self._uploads.offset(descriptor.digest)

    def put_blob(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> PutResult:
        if descriptor.digest not in self._missing and self.has_blob(descriptor):
            return PutResult.EXISTED
        try:
            return self._uploads.put(descriptor, stream, offset=offset, progress=progress)
        finally:
            # Also when it broke: the registry may have all of it, and only its answer got lost.
            self._missing.discard(descriptor.digest)

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        return self._uploads.mount(descriptor, parse_repository(from_repository))

    def put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        manifests.put_manifest(self._place, manifest, reference)

    def create_tag(self, manifest: ManifestBytes, tag: str) -> None:
        """As `put_manifest`, but never moves a tag: raises TagExists when it holds something else."""
        manifests.put_manifest(self._place, manifest, tag, if_absent=True)

    def list_tags(self) -> Iterator[str]:
        return tags.list_tags(self._place)

    def delete_tag(self, tag: str) -> None:
        manifests.delete_manifest(self._place, tag)

    def delete_manifest(self, digest: Digest) -> None:
        manifests.delete_manifest(self._place, digest)

    def list_referrers(self, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        return referrers.list_referrers(self._place, digest, artifact_type)

    def close(self) -> None:
        self._place.session.close()
