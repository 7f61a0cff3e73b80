"""An image layout in a directory, as a place to copy from and to.

    <root>/
      oci-layout
      index.json               replaced as a whole, under the lock
      blobs/<algorithm>/<hex>  complete and verified before it has this name
      .entrepot/lock           flock
      .entrepot/partial/       bytes of interrupted copies; the next run goes on from them

Other tools ignore the hidden directory. Blobs and `index.json` are fsynced in that order, so a layout
survives a power cut with every name it lists.
"""

from __future__ import annotations

import fcntl
import io
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from entrepot.content.errors import BlobNotFound, IncompleteGraph, Interrupted, ManifestNotFound
from entrepot.content.protocols import BlobStream, ManifestBytes, PutResult
from entrepot.content.verify import VerifiedReader, verify_bytes, verify_manifest
from entrepot.errors import VerificationFailed
from entrepot.layout.errors import InvalidLayout
from entrepot.layout.index import OCI_LAYOUT, LayoutIndex, check_layout_file, parse_index, print_index
from entrepot.layout.lock import exclusive, fsync_directory, replace_file, write_all
from entrepot.oci import manifest as manifests
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher

_BUFFER_BYTES: Final = 1 << 20


class ImageLayout:
    """Source, Sink, TagStore and ReferrerSource over the layout at `root`. Thread and process safe.

    Names are the layout's ref names: tags, or whatever its writer used. A reading use never writes.
    """

    def __init__(self, root: Path | str, *, create: bool = False) -> None:
        """With `create` a missing or empty directory becomes a layout. Raises InvalidLayout."""
        self.root = Path(root)
        self._own = self.root / ".entrepot"
        if create:
            self._create()
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
        return self._open(descriptor.digest, offset)

    # --- Sink

    def has_blob(self, descriptor: Descriptor) -> bool:
        """A file of another size is damage, and counts as not being there."""
        try:
            return self.blob_path(descriptor.digest).stat().st_size == descriptor.size
        except FileNotFoundError:
            return False

    def has_manifest(self, digest: Digest) -> bool:
        return self.blob_path(digest).is_file()

    def blob_offset(self, descriptor: Descriptor) -> int:
        """What an interrupted copy left; nothing while another process is at work on it."""
        try:
            fd = os.open(self._partial_path(descriptor.digest), os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            # Shared: it stops no other that only looks, and NFS gives no other lock to a reader.
            size = os.fstat(fd).st_size if _try_lock(fd, fcntl.LOCK_SH) else 0
        finally:
            os.close(fd)
        return size if size < descriptor.size else 0

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
        path, fd = self._open_partial(descriptor, offset)
        try:
            _receive(descriptor, stream, fd, offset, progress)
            os.fsync(fd)
            self._adopt(path, descriptor.digest)
        except BaseException as error:
            # Of a file of one's own nobody would ever go on; nor should anybody with wrong bytes.
            if isinstance(error, VerificationFailed) or path != self._partial_path(descriptor.digest):
                path.unlink(missing_ok=True)
            raise
        finally:
            os.close(fd)
        return PutResult.STORED

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
        self._store_bytes(manifest.raw, manifest.digest)
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
        """The file goes too, unless an index that stays needs it. Blobs stay until `collect`."""
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
        try:
            return parse_index((self.root / "index.json").read_bytes())
        except FileNotFoundError:
            raise InvalidLayout(f"{self.root} is no image layout: it has no index.json") from None

    def update_index(self, change: Callable[[LayoutIndex], LayoutIndex]) -> None:
        """Replace `index.json` by what `change` makes of it, under the lock."""
        self._own.mkdir(exist_ok=True)
        with exclusive(self._own / "lock"):
            before = self.read_index()
            after = change(before)
            if after != before:
                replace_file(self.root / "index.json", print_index(after))

    def collect(self) -> int:
        """Remove blobs no listed manifest needs, and partial copies; how many bytes that freed.

        No other process may be copying into the layout meanwhile.
        """
        self._create()
        with exclusive(self._own / "lock"):
            alive = {self.blob_path(digest) for digest in self._reachable()}
            blobs = (path for folder in (self.root / "blobs").iterdir() for path in folder.iterdir())
            dead = [path for path in blobs if path not in alive]
            dead += (self._own / "partial").iterdir()
            freed = sum(path.stat().st_size for path in dead)
            for path in dead:
                path.unlink()
        return freed

    def blob_path(self, digest: Digest) -> Path:
        return self.root / "blobs" / digest.algorithm / digest.hex

    # --- within

    def _create(self) -> None:
        (self.root / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        (self._own / "partial").mkdir(parents=True, exist_ok=True)
        if (self.root / "oci-layout").exists() and (self.root / "index.json").exists():
            return
        with exclusive(self._own / "lock"):
            if not (self.root / "index.json").exists():
                replace_file(self.root / "index.json", print_index(LayoutIndex()))
            if not (self.root / "oci-layout").exists():
                replace_file(self.root / "oci-layout", OCI_LAYOUT)

    def _check(self) -> None:
        try:
            check_layout_file((self.root / "oci-layout").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            raise InvalidLayout(
                f"{self.root} is no image layout: it has no file oci-layout",
                hint="an image layout is a directory with oci-layout, index.json and blobs",
            ) from None

    def _open(self, digest: Digest, offset: int = 0) -> io.FileIO:
        try:
            file = self.blob_path(digest).open("rb", buffering=0)
        except FileNotFoundError:
            raise BlobNotFound(f"{self.root} has no blob {digest}") from None
        file.seek(offset)
        return file

    def _read_manifest(self, digest: Digest) -> bytes:
        limit = manifests.DEFAULT.max_bytes
        try:
            with self._open(digest) as file:
                raw = file.read(limit + 1)
        except BlobNotFound:
            raise ManifestNotFound(f"{self.root} has no manifest {digest}") from None
        if len(raw) > limit:
            raise manifests.ManifestTooLarge(f"{digest} has more than {limit} bytes, which no manifest has")
        return raw

    def _partial_path(self, digest: Digest) -> Path:
        return self._own / "partial" / f"{digest.algorithm}-{digest.hex}"

    def _open_partial(self, descriptor: Descriptor, offset: int) -> tuple[Path, int]:
        """The partial file, locked; a file of one's own when another process has it."""
        directory = self._own / "partial"
        directory.mkdir(parents=True, exist_ok=True)
        path = self._partial_path(descriptor.digest)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        if not _try_lock(fd) or not _is_still(path, fd):
            os.close(fd)
            path = path.with_name(f"{path.name}.{secrets.token_hex(6)}")
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        if os.fstat(fd).st_size < offset:
            os.close(fd)
            if path != self._partial_path(descriptor.digest):
                path.unlink(missing_ok=True)
            raise Interrupted(f"another process has taken over the copy of {descriptor.digest}")
        return path, fd

    def _adopt(self, partial: Path, digest: Digest) -> None:
        path = self.blob_path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.rename(path)
        fsync_directory(path.parent)

    def _store_bytes(self, data: bytes, digest: Digest) -> None:
        path = self.blob_path(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.is_file() or path.stat().st_size != len(data):
            replace_file(path, data)

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


def _try_lock(fd: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, fd: int) -> bool:
    """Whether the open file still has this name: between opening and locking it may have become a blob."""
    try:
        return os.path.samestat(path.stat(), os.fstat(fd))
    except FileNotFoundError:
        return False


def _receive(
    descriptor: Descriptor, stream: BlobStream, fd: int, offset: int, progress: Callable[[int], None] | None
) -> None:
    os.ftruncate(fd, offset)
    hasher = Hasher(descriptor.digest.algorithm)
    os.lseek(fd, 0, os.SEEK_SET)
    while held := os.read(fd, _BUFFER_BYTES):
        hasher.update(held)
    reader = VerifiedReader(stream, descriptor, hasher=hasher)
    buffer = bytearray(min(_BUFFER_BYTES, max(descriptor.size, 1)))
    view = memoryview(buffer)
    while count := reader.readinto(buffer):
        write_all(fd, view[:count])
        if progress is not None:
            progress(count)
