"""An image layout in a directory, as a place to copy from and to.

Blobs and `index.json` are fsynced in that order, so a layout survives a power cut with every name it lists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from entrepot.content.errors import BlobNotFound, IncompleteGraph, ManifestNotFound
from entrepot.content.protocols import BlobStream, ManifestBytes, PutResult
from entrepot.content.verify import verify_bytes, verify_manifest
from entrepot.layout.errors import InvalidLayout
from entrepot.layout.files import LayoutFiles
from entrepot.layout.index import LayoutIndex, check_layout_file
from entrepot.layout.partials import PartialBlobs
from entrepot.layout.paths import LayoutPaths
from entrepot.oci import manifest as manifests
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest


class ImageLayout:
    """Source, Sink, TagStore and ReferrerSource over the layout at `root`. Thread and process safe.

    Names are the layout's ref names: tags, or whatever its writer used. A reading use never writes.
    """

    def __init__(self, root: Path | str, *, create: bool = False) -> None:
        """With `create` a missing or empty directory becomes a layout. Raises InvalidLayout."""
        self.root = Path(root)
        self._paths = LayoutPaths(self.root)
        self._files = LayoutFiles(self._paths, durable=True)
        self._blobs = self._files.blobs
        self._partials = PartialBlobs(self._paths, self._blobs)
        if create:
            self._files.create()
        self._check()

    # --- Source

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        """By ref name, full name or digest; an empty name is the only image there is.

        Raises ManifestNotFound, AmbiguousName, VerificationFailed.
        """
        entry = self.read_index().find(reference)
        if entry is not None:
            raw = self._read_manifest(entry.descriptor.digest)
            verify_bytes(raw, entry.descriptor)
            return ManifestBytes(raw, entry.descriptor.media_type, entry.descriptor.digest)
        if not isinstance(reference, Digest):
            raise ManifestNotFound(f"{self.root} has no image named {reference or '(anything)'}")
        raw = self._read_manifest(reference)
        found = ManifestBytes(raw, manifests.parse_manifest(raw, None).media_type, reference)
        verify_manifest(found)
        return found

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return self._blobs.open(descriptor.digest, offset)

    # --- Sink

    def has_blob(self, descriptor: Descriptor) -> bool:
        """A file of another size is damage, and counts as not being there."""
        return self._blobs.has(descriptor.digest, descriptor.size)

    def has_manifest(self, digest: Digest) -> bool:
        return self._blobs.has(digest)

    def blob_offset(self, descriptor: Descriptor) -> int:
        """What an interrupted copy left; it is not taken, since a layout is never closed to give it back."""
        return self._partials.held(descriptor)

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
        self._files.prepare()
        return self._partials.put(descriptor, stream, offset=offset, progress=progress)

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:  # noqa: ARG002 - one pool
        """A layout has one pool of blobs: what is here is here already."""
        return self.has_blob(descriptor)

    def put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        """Raises IncompleteGraph when what it refers to is missing.

        One without a name is listed only when it has a subject, so that referrers can be found.
        """
        verify_manifest(manifest)
        parsed = manifest.parse()
        self._check_complete(manifest.digest, parsed)
        self._files.prepare()
        self._blobs.put_bytes(manifest.raw, manifest.digest.algorithm)
        if reference is not None or parsed.subject is not None:
            target = manifest.descriptor()
            self.update_index(lambda index: index.with_name(reference, target))

    # --- TagStore

    def list_tags(self) -> Iterator[str]:
        return iter(sorted(self.read_index().names(), key=str.encode))

    def delete_tag(self, tag: str) -> None:
        def remove(index: LayoutIndex) -> LayoutIndex:
            if tag not in index.names():
                raise ManifestNotFound(f"{self.root} has no image named {tag}")
            return index.without_name(tag)

        self.update_index(remove)

    def delete_manifest(self, digest: Digest) -> None:
        """The file goes too, unless an index that stays needs it. Blobs stay until `collect`.

        Raises ManifestNotFound.
        """
        if not self.has_manifest(digest):
            raise ManifestNotFound(f"{self.root} has no manifest {digest}")
        self.update_index(lambda index: index.without_digest(digest))
        if digest not in self._reachable():
            self.blob_path(digest).unlink(missing_ok=True)

    # --- ReferrerSource

    def list_referrers(self, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        found: dict[Digest, Descriptor] = {}
        for entry in self.read_index():
            stored = self.get_manifest(entry.descriptor.digest)
            parsed = stored.parse()
            kind = parsed.effective_artifact_type
            if parsed.subject is None or parsed.subject.digest != digest:
                continue
            if artifact_type is None or artifact_type == kind:
                found[stored.digest] = Descriptor(
                    stored.media_type,
                    stored.digest,
                    len(stored.raw),
                    annotations=parsed.annotations,
                    artifact_type=kind,
                )
        return list(found.values())

    # --- the layout itself

    def read_index(self) -> LayoutIndex:
        """Raises InvalidLayout."""
        document = self._files.read_index()
        if document is None:
            raise InvalidLayout(f"{self.root} is no image layout: it has no index.json")
        return LayoutIndex.of(document)

    def update_index(self, change: Callable[[LayoutIndex], LayoutIndex]) -> None:
        """Replace `index.json` by what `change` makes of it, under the lock."""
        self._files.prepare()
        with self._files.locked():
            before = self.read_index()
            after = change(before)
            if after != before:
                self._files.write_index(after.document())

    def collect(self) -> int:
        """Remove blobs no listed manifest needs, and partial copies; how many bytes that freed.

        No other process may be copying into the layout meanwhile.
        """
        self._files.prepare()
        with self._files.locked():
            freed = self._blobs.remove_all_but({str(digest) for digest in self._reachable()})
        self._files.remove_leftovers()
        return freed.bytes + self._files.give_up_partials()

    def blob_path(self, digest: Digest) -> Path:
        return self._paths.blob(digest)

    # --- within

    def _check(self) -> None:
        try:
            check_layout_file(self._paths.layout.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidLayout(
                f"{self.root} is no image layout: it has no file oci-layout",
                hint="an image layout is a directory with oci-layout, index.json and blobs",
            ) from None

    def _read_manifest(self, digest: Digest) -> bytes:
        limit = manifests.DEFAULT.max_bytes
        if (self._blobs.size(digest) or 0) > limit:
            raise manifests.ManifestTooLarge(f"{digest} has more than {limit} bytes, which no manifest has")
        try:
            return self._blobs.read(digest)
        except BlobNotFound:
            raise ManifestNotFound(f"{self.root} has no manifest {digest}") from None

    def _check_complete(self, digest: Digest, parsed: manifests.ImageManifest | manifests.Index) -> None:
        blobs, children = parsed.references()
        for needed in (*blobs, *children):
            if not self.has_blob(needed):
                raise IncompleteGraph(f"manifest {digest} needs {needed.digest}, which is not in {self.root}")

    def _reachable(self) -> set[Digest]:
        alive: set[Digest] = set()
        reached: set[Digest] = set()  # not `alive`: what one image has for a blob may be another's manifest
        waiting = [entry.descriptor.digest for entry in self.read_index()]
        while waiting:
            digest = waiting.pop()
            if digest in reached or not self.has_manifest(digest):
                continue
            reached.add(digest)
            alive.add(digest)
            raw = self._read_manifest(digest)
            blobs, children = manifests.parse_manifest(raw, None).references()
            alive.update(blob.digest for blob in blobs)
            waiting.extend(child.digest for child in children)
        return alive
