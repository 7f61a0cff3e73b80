"""An archive as a place to copy to.

Copying brings blobs in any order and on several threads, an archive wants them one after another; so
content gathers in a layout beside the archive, and `finish` writes the archive from it in one go. The
file appears whole, under its name, or not at all.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from entrepot.archive.reading import ArchiveFormat
from entrepot.archive.writing import SavedImage, write_archive
from entrepot.content.protocols import BlobStream, ManifestBytes, PutResult
from entrepot.files import real_path, replaced_file, try_lock
from entrepot.layers.chunks import Writable
from entrepot.layout.directory import ImageLayout
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference

_STAGING_PREFIX = ".entrepot-archive-"
_ABANDONED_S = 60
"""A directory without a lock may be one that is just being made, but not for that long."""
_CLOSE_TRIES = 50
"""How often a folder that is still written to is removed."""


class ArchiveSink:
    """Sink for one archive. Use it with `with`: leaving it without an error writes the archive."""

    def __init__(
        self,
        finish: Callable[[Callable[[Writable], None]], object],
        *,
        staging: Path | None = None,
        archive_format: ArchiveFormat = "docker",
        reference: Reference | None = None,
        also: Sequence[Reference] = (),
    ) -> None:
        """`finish` is given a function that writes the archive to what it is called with.

        Tags put are those of `reference`'s repository, and then `also` are further names; without it
        they are ref names as they are. `staging` is the directory in which content gathers.
        """
        self._finish = finish
        self._format = archive_format
        self._reference = reference
        self._also = tuple(also)
        remove_abandoned(Path(staging or tempfile.gettempdir()))
        self._directory = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=staging))
        self._lock = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try_lock(self._lock)
        self._layout = ImageLayout(self._directory, create=True)
        self._saved: list[SavedImage] = []

    @classmethod
    def to_path(
        cls,
        path: Path,
        *,
        archive_format: ArchiveFormat = "docker",
        reference: Reference | None = None,
        also: Sequence[Reference] = (),
    ) -> ArchiveSink:
        """A file, as `replaced_file` says; content gathers in the same directory, for a pipe or device in
        that for temporary files."""

        def finish(write: Callable[[Writable], None]) -> None:
            with replaced_file(path, mode=0o600) as file:
                write(file)

        staging = None if path.exists() and not path.is_file() else real_path(path).parent
        return cls(finish, staging=staging, archive_format=archive_format, reference=reference, also=also)

    def has_blob(self, descriptor: Descriptor) -> bool:
        return self._layout.has_blob(descriptor)

    def has_manifest(self, digest: Digest) -> bool:
        return self._layout.has_manifest(digest)

    def blob_offset(self, descriptor: Descriptor) -> int:
        return self._layout.blob_offset(descriptor)

    def put_blob(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> PutResult:
        return self._layout.put_blob(descriptor, stream, offset=offset, progress=progress)

    def mount_blob(self, descriptor: Descriptor, from_repository: str) -> bool:
        return self._layout.mount_blob(descriptor, from_repository)

    def put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        self._layout.put_manifest(manifest, None)
        target = manifest.descriptor()
        if reference is None:
            if manifest.parse().subject is not None:
                self._saved.append(SavedImage(self._layout, target))
        elif self._reference is None:
            self._saved.append(SavedImage(self._layout, target, self._also, (reference,)))
        else:
            name = self._reference.with_digest(None).with_tag(reference)
            self._saved.append(SavedImage(self._layout, target, (name, *self._also)))

    def add(
        self, target: Descriptor, references: tuple[Reference, ...] = (), ref_names: tuple[str, ...] = ()
    ) -> None:
        """List a manifest put without a name as an image, under these names."""
        self._saved.append(SavedImage(self._layout, target, (*references, *self._also), ref_names))

    def finish(self) -> None:
        """Write the archive. Raises what writing raises; nothing of the archive is left then."""
        # By name: copies that run side by side end in any order.
        images = sorted(self._saved, key=lambda one: (one.references, one.ref_names))
        self._finish(lambda out: write_archive(out, images, archive_format=self._format))

    def close(self) -> None:
        """Remove what was gathered.

        A copy that was interrupted may have threads that still write: what they add is removed as well.
        """
        for _ in range(_CLOSE_TRIES):
            shutil.rmtree(self._directory, ignore_errors=True)
            if not self._directory.exists():
                break
            time.sleep(0.02)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *exception: object) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self.close()


def remove_abandoned(folder: Path) -> None:
    """Remove what copies that were killed had gathered in `folder`."""
    for path in folder.glob(f"{_STAGING_PREFIX}*"):
        with suppress(OSError):  # another user's, or gone
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                status = os.fstat(fd)
                mine = status.st_uid == os.geteuid()
                if mine and time.time() - status.st_mtime > _ABANDONED_S and try_lock(fd):
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(fd)
