"""A place for content in memory: the fake for tests, and as strict as the real ones."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator

from entrepot.content.errors import BlobNotFound, IncompleteGraph, ManifestNotFound
from entrepot.content.protocols import BlobStream, ManifestBytes, PutResult
from entrepot.content.verify import VerifiedReader, verify_manifest
from entrepot.errors import VerificationFailed
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher
from entrepot.oci.reference import parse_tag

_STEP = 64 * 1024


class MemoryStore:
    """Source, Sink, TagStore and ReferrerSource. `neighbours` are repositories blobs can be mounted from."""

    def __init__(self, neighbours: dict[str, MemoryStore] | None = None) -> None:
        self.blobs: dict[Digest, bytes] = {}
        self.manifests: dict[Digest, ManifestBytes] = {}
        self.tags: dict[str, Digest] = {}
        self._partial: dict[Digest, bytes] = {}
        self._neighbours = neighbours if neighbours is not None else {}
        self._lock = threading.RLock()

    def add_blob(self, data: bytes, media_type: str = "application/octet-stream") -> Descriptor:
        """A shortcut for tests."""
        descriptor = Descriptor(media_type, Digest.of(data), len(data))
        with self._lock:
            self.blobs[descriptor.digest] = data
        return descriptor

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        with self._lock:
            digest = self.tags.get(reference) if isinstance(reference, str) else reference
            manifest = self.manifests.get(digest) if digest is not None else None
        if manifest is None:
            raise ManifestNotFound(f"manifest {reference} not found")
        return manifest

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        with self._lock:
            data = self.blobs.get(descriptor.digest)
        if data is None:
            raise BlobNotFound(f"blob {descriptor.digest} not found")
        return io.BytesIO(data[offset:])

    def has_blob(self, descriptor: Descriptor) -> bool:
        with self._lock:
            return descriptor.digest in self.blobs

    def has_manifest(self, digest: Digest) -> bool:
        with self._lock:
            return digest in self.manifests

    def blob_offset(self, descriptor: Descriptor) -> int:
        with self._lock:
            return len(self._partial.get(descriptor.digest, b""))

    def put_blob(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> PutResult:
        if self.has_blob(descriptor):
            return PutResult.EXISTED
        with self._lock:
            held = bytearray(self._partial.pop(descriptor.digest, b"")[:offset])
        if len(held) != offset:
            raise ValueError(f"offset {offset} is more than the {len(held)} bytes held")
        hasher = Hasher(descriptor.digest.algorithm)
        hasher.update(held)
        reader = VerifiedReader(stream, descriptor, hasher=hasher)
        try:
            while piece := reader.read(_STEP):
                held += piece
                if progress is not None:
                    progress(len(piece))
        except VerificationFailed:
            raise
        except BaseException:
            with self._lock:
                self._partial[descriptor.digest] = bytes(held)
            raise
        with self._lock:
            self.blobs[descriptor.digest] = bytes(held)
        return PutResult.STORED

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        neighbour = self._neighbours.get(from_repository)
        if neighbour is None or not neighbour.has_blob(descriptor):
            return False
        with neighbour.open_blob(descriptor) as stream:
            self.put_blob(descriptor, stream)
        return True

    def put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        verify_manifest(manifest)
        blobs, children = manifest.parse().references()
        tag = parse_tag(reference) if reference is not None else None
        with self._lock:
            missing = [blob.digest for blob in blobs if blob.digest not in self.blobs]
            missing += [child.digest for child in children if child.digest not in self.manifests]
            if missing:
                raise IncompleteGraph(
                    f"manifest {manifest.digest} refers to {missing[0]}, which is not there"
                )
            self.manifests[manifest.digest] = manifest
            if tag is not None:
                self.tags[tag] = manifest.digest

    def list_tags(self) -> Iterator[str]:
        with self._lock:
            names = sorted(self.tags)
        return iter(names)

    def delete_tag(self, tag: str) -> None:
        with self._lock:
            if self.tags.pop(tag, None) is None:
                raise ManifestNotFound(f"tag {tag} not found")

    def delete_manifest(self, digest: Digest) -> None:
        with self._lock:
            if self.manifests.pop(digest, None) is None:
                raise ManifestNotFound(f"manifest {digest} not found")
            self.tags = {tag: target for tag, target in self.tags.items() if target != digest}

    def list_referrers(self, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        with self._lock:
            manifests = [self.manifests[key] for key in sorted(self.manifests)]
        found = []
        for stored in manifests:
            manifest = stored.parse()
            kind = manifest.effective_artifact_type
            if manifest.subject is None or manifest.subject.digest != digest:
                continue
            if artifact_type is None or artifact_type == kind:
                found.append(
                    Descriptor(
                        stored.media_type,
                        stored.digest,
                        len(stored.raw),
                        annotations=manifest.annotations,
                        artifact_type=kind,
                    )
                )
        return found
