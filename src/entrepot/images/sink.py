"""The store as a place to copy to."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence

from entrepot.content.protocols import BlobStream, ManifestBytes, PutResult
from entrepot.content.verify import verify_manifest
from entrepot.images.errors import StoreFull
from entrepot.images.store import ImageStore
from entrepot.layout.partials import PartialBlobs
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference


class StoreSink:
    """Sink into a store. Use it with `with`: it holds a lease, so that nothing it saw or stored goes away.

    Blobs that are here already count as verified: they were when they came.
    """

    def __init__(
        self,
        store: ImageStore,
        reference: Reference | None = None,
        *,
        also: Sequence[Reference] = (),
        listed: bool = True,
    ) -> None:
        """A manifest put under a tag is listed under that tag of `reference`'s repository and under the names
        in `also`. With `listed=False` nothing is: the caller lists targets with `store.add`, many at once.
        """
        self._store = store
        self._reference = reference
        self._also = tuple(also)
        self._listed = listed
        self._lease = store.lease()
        self._partials = PartialBlobs(store.paths, store.blobs)

    def has_blob(self, descriptor: Descriptor) -> bool:
        self._lease.add([descriptor.digest])
        return self._store.blobs.has(descriptor.digest, descriptor.size)

    def has_manifest(self, digest: Digest) -> bool:
        self._lease.add([digest])
        return self._store.blobs.has(digest)

    def blob_offset(self, descriptor: Descriptor) -> int:
        return self._partials.take(descriptor)

    def put_blob(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> PutResult:
        self._lease.add([descriptor.digest])
        if self._store.blobs.has(descriptor.digest, descriptor.size):  # another process may have brought it
            return PutResult.EXISTED
        try:
            return self._partials.put(descriptor, stream, offset=offset, progress=progress)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(str(descriptor.digest), self._store.root) from error
            raise

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:  # noqa: ARG002
        """One pool for all repositories: what is here is here already."""
        return self.has_blob(descriptor)

    def put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        """Keep it; list it when `reference` is a tag, or raise IncompleteImage when content is missing."""
        verify_manifest(manifest)
        self._lease.add([manifest.digest])
        self._store.blobs.put_bytes(manifest.raw, manifest.digest.algorithm)
        if reference is None or not self._listed:
            return
        names = list(self._also)
        if self._reference is not None:
            names.insert(0, self._reference.with_digest(None).with_tag(reference))
        self._store.add([(manifest.descriptor(), names)])

    def close(self) -> None:
        self._partials.release()
        self._lease.close()

    def __enter__(self) -> StoreSink:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
