"""The store as a place to copy from."""

from __future__ import annotations

from collections.abc import Iterator

from entrepot.content.errors import ManifestNotFound
from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference


class StoreSource:
    """Source and TagStore over one repository's names in a store."""

    def __init__(self, store: ImageStore, reference: Reference | None = None) -> None:
        self._store = store
        self._reference = reference

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        if isinstance(reference, Digest):
            return self._store.get_manifest(reference)
        if self._reference is None:
            raise ManifestNotFound(f"tag {reference} without a repository")
        image = self._store.find(self._reference.with_digest(None).with_tag(reference))
        if image is None:
            raise ManifestNotFound(f"tag {reference} of {self._reference.familiar_name} is not in the store")
        return self._store.get_manifest(image.target.digest, image.target.media_type)

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return self._store.blobs.open(descriptor.digest, offset)

    def list_tags(self) -> Iterator[str]:
        if self._reference is None:
            return
        for tag in self._store.tags_of(self._reference):
            if tag.tag is not None:
                yield tag.tag

    def delete_tag(self, tag: str) -> None:
        """Take the name away; the image stays. Raises ManifestNotFound."""
        if self._reference is None or tag not in self.list_tags():
            raise ManifestNotFound(f"tag {tag} is not in the store")
        self._store.remove_names([self._reference.with_digest(None).with_tag(tag)])

    def delete_manifest(self, digest: Digest) -> None:
        """Take away this repository's names of a manifest. Raises ManifestNotFound."""
        if self._reference is None:
            raise ManifestNotFound(f"manifest {digest} without a repository")
        names = self._store.names_of(digest, self._reference)
        if not names:
            raise ManifestNotFound(f"manifest {digest} has no name in {self._reference.familiar_name}")
        self._store.remove_names(names)
