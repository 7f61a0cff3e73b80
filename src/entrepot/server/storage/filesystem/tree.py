"""What the filesystem store does inside a thread: plain calls in the order that a power cut can't break."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from entrepot.observability.logs import get_log
from entrepot.oci.digest import ALGORITHMS, Digest, Hasher
from entrepot.server.storage import keys
from entrepot.server.storage.driver import Chunk, StoredObject
from entrepot.server.storage.errors import (
    FULL_RETRY_AFTER_S,
    StorageFull,
    StoredBytesDiffer,
    StoredFileUnreadable,
    UploadShort,
)
from entrepot.server.storage.filesystem.ops import FileOps
from entrepot.wording import human_size

log = get_log(__name__)

_VERIFY_BYTES = 1024 * 1024
_SHARDS = [f"{number:02x}" for number in range(256)]
PLENTY_BYTES = 1024 * 1024 * 1024
"""With so much more than the reserve left, not every write has to ask again."""
PLENTY_S = 0.1
"""For so long. No disk takes the rest in that time."""
SLOW_SYNC_S = 0.003
"""A disk that takes longer, on average, to sync a small file is asked for the file and its name at the same
time. That costs a thread more, which is a loss where the processors are what is waited for."""
SYNCS_REMEMBERED = 16
"""How many syncs the average goes back, about."""


class OpenFile:
    """An open file, closed when the last one who works with it has let go of it."""

    __slots__ = ("_ops", "fd", "size")

    def __init__(self, ops: FileOps, fd: int, size: int | None = None) -> None:
        self._ops = ops
        self.fd = fd
        self.size = ops.open_size(fd) if size is None else size
        """Bytes when it was opened."""

    def __del__(self) -> None:
        with suppress(OSError):
            self._ops.close(self.fd)


@dataclass(frozen=True, slots=True)
class Unsynced:
    """A whole small file that has been written under its own name, which nobody knows yet."""

    file: OpenFile
    path: Path


class FolderTree:
    """Everything below one root. Every method blocks and raises OSError or a storage error."""

    def __init__(self, root: Path, ops: FileOps, *, reserve_bytes: int, boot: str) -> None:
        self.root = root
        self.ops = ops
        self.boot = boot
        self._reserve_bytes = reserve_bytes
        self._synced: set[Path] = set()
        self._roomy_until = 0.0
        self._sync_s = 0.0

    # Uploads

    def open_upload(self, upload: str, offset: int) -> OpenFile:
        """An upload file that holds exactly `offset` bytes, for writing more. Raises UploadShort."""
        path = self.path(upload)
        self._make_durable(path.parent)
        file = OpenFile(self.ops, self.ops.open_append(path))
        if file.size < offset:
            if not file.size:
                self.remove(path)
            raise UploadShort(upload, file.size, offset)
        if file.size > offset:
            self.ops.truncate(file.fd, offset)
        return file

    def write(self, file: OpenFile, chunks: Sequence[Chunk], offset: int) -> None:
        """Write all of `chunks`.

        Raises StorageFull while there is still a little room for everything else.
        """
        if time.monotonic() >= self._roomy_until:
            self._keep_reserve(self.root)
        self.ops.write(file.fd, chunks, offset)

    def give_back(self, upload: str, file: OpenFile | None, offset: int) -> None:
        """Cut an upload to what it held before a failed write."""
        if offset == 0:
            self.remove(self.path(upload))
        elif file is not None:
            self.ops.truncate(file.fd, offset)

    def commit(self, upload: str, phys: str, digest: Digest, size: int) -> None:
        """Steps 2 to 4 of a commit. The upload is gone afterwards, whatever happens. Raises UploadShort."""
        source = self.path(upload)
        try:
            file = self._open_to_commit(source)
            if file.size < size:
                raise UploadShort(upload, file.size, size)
            if file.size > size:
                self.ops.truncate(file.fd, size)
            if keys.boot_of_upload(upload) != self.boot:
                self._verify(source, digest, size)
            self.ops.fsync(file.fd)
        except BaseException:
            self.forget(source)
            raise
        self._publish(source, self.path(phys))

    # Files of this machine

    def take(self, source: Path, target: Path, digest: Digest, size: int, may_link: bool) -> str:
        """A file of another program as a blob: by a second name, shared blocks, or a copy; returns which.

        What is hashed is what will be served: a shared file before it gets its name here, a copy as it is
        written.

        Raises StoredBytesDiffer, StoredFileUnreadable.
        """
        try:
            file = self.open_read(source)
        except OSError as error:
            raise StoredFileUnreadable(f"{source} can't be read: {error.strerror}") from error
        if file.size != size:
            raise StoredBytesDiffer(f"{source} has {file.size} bytes instead of {size}")
        if may_link and self.ops.is_own(file.fd) and self._link(source, file, target, digest):
            return "linked"
        temporary = self.path(keys.file_upload_key(self.boot))
        self._make_durable(temporary.parent)
        try:
            made = OpenFile(self.ops, self.ops.open_append(temporary), 0)
            self._keep_reserve(self.root)
            cloned = self.ops.clone(file.fd, made.fd)
            self._require(made if cloned else file, source, digest, size, None if cloned else made)
            self.ops.fsync(made.fd)
        except BaseException:
            self.forget(temporary)
            raise
        self._publish(temporary, target)
        return "cloned" if cloned else "copied"

    def _link(self, source: Path, file: OpenFile, target: Path, digest: Digest) -> bool:
        self._require(file, source, digest, file.size, None)
        self.ops.fsync(file.fd)
        self._make_durable(target.parent)
        try:
            if not self.ops.link(source, target):
                return False
            self.ops.fsync_directory(target.parent)
        except BaseException:
            self.forget(target)
            raise
        return True

    def _require(
        self, file: OpenFile, source: Path, digest: Digest, size: int, copy: OpenFile | None
    ) -> None:
        """Read all of `file`, into `copy` when there is one. Raises StoredBytesDiffer."""
        hasher = Hasher(digest.algorithm)
        for offset in range(0, size, _VERIFY_BYTES):
            try:
                data = self.ops.read(file.fd, min(_VERIFY_BYTES, size - offset), offset)
            except OSError as error:
                raise StoredFileUnreadable(f"{source} can't be read: {error.strerror}") from error
            hasher.update(data)
            if copy is not None:
                self.write(copy, [data], offset)
                self.ops.start_writeback(copy.fd, offset, len(data))
        if hasher.size != size or hasher.digest() != digest:
            raise StoredBytesDiffer(f"the bytes in {source} are not those of {digest}")

    # Whole small files

    def put(self, target: Path, data: bytes) -> None:
        """A small file under a name that was never used before, durable."""
        self.end_put(self.begin_put(target, data))

    def is_ready_for(self, target: Path) -> bool:
        """Whether every directory of a blob is durable already, so that `begin_put` syncs none."""
        return target.parent in self._synced

    def begin_put(self, target: Path, data: bytes) -> Unsynced:
        """Step 1 of a commit: the bytes in a file that only the page cache has."""
        self._make_durable(target.parent)
        try:
            file = OpenFile(self.ops, self.ops.open_append(target), 0)
            self.write(file, [data], 0)
        except BaseException:
            self.forget(target)
            raise
        return Unsynced(file, target)

    def end_put(self, written: Unsynced) -> None:
        """The other steps; these wait for the disk."""
        try:
            self.sync_bytes(written)
            self.sync_name(written)
        except BaseException:
            self.forget(written.path)
            raise

    def sync_bytes(self, written: Unsynced) -> None:
        """Half of `end_put`; after an error of either half the file is for `forget`."""
        began = time.monotonic()
        self.ops.fsync(written.file.fd)
        self._sync_s += (time.monotonic() - began - self._sync_s) / SYNCS_REMEMBERED

    def sync_name(self, written: Unsynced) -> None:
        """The other half, in any order."""
        self.ops.fsync_directory(written.path.parent)

    def is_slow(self) -> bool:
        """Whether the disk takes long for a sync these days."""
        return self._sync_s > SLOW_SYNC_S

    def replace(self, target: Path, data: bytes) -> None:
        """A small file in the place of another, durable; whoever reads sees the one or the other."""
        written = self.begin_put(self.path(keys.file_upload_key(self.boot)), data)
        try:
            self.sync_bytes(written)
        except BaseException:
            self.forget(written.path)
            raise
        self._publish(written.path, target)

    def probe(self) -> None:
        """Make and remove an empty file."""
        self._keep_reserve(next(part for part in (self.root, *self.root.parents) if part.exists()))
        path = self.path(keys.file_upload_key(self.boot))
        self._make_durable(path.parent)
        OpenFile(self.ops, self.ops.open_append(path))
        self.remove(path)

    def keep_reserve_file(self) -> str | None:
        """Hold a file of the reserve's size while there is room, and give it back when there is none.

        Another program may fill the disk to the last byte; the catalog can still write then, so deletes and
        garbage collection go on. Returns `given back` or `taken` when something was done.
        """
        path = self.root / keys.RESERVE
        free, held = self.ops.free_bytes(self.root), self.ops.size(path)
        if held is not None and free < self._reserve_bytes // 2:
            self.remove(path)
            return "given back"
        if held is None and free > 4 * self._reserve_bytes and self._reserve_bytes:
            self.ops.allocate(path, self._reserve_bytes)
            return "taken"
        return None

    # Paths, reading, removing, walking

    def path(self, name: str) -> Path:
        """Where the object of a name is."""
        return self.root / name

    def open_read(self, path: Path) -> OpenFile:
        """Open for reading."""
        return OpenFile(self.ops, self.ops.open_read(path))

    def size(self, path: Path) -> int | None:
        """Bytes, None when it is missing."""
        return self.ops.size(path)

    def remove(self, path: Path) -> None:
        """Unlink; a missing file is a success."""
        with suppress(FileNotFoundError, NotADirectoryError):
            self.ops.unlink(path)

    def forget(self, path: Path) -> None:
        """Remove a file after a failure; what can't be removed now is swept later."""
        try:
            self.remove(path)
        except OSError as error:
            log.warning("leftover file", path=str(path), reason=error.strerror)

    def walk(self, folder: str) -> Iterator[StoredObject]:
        """Every file below a folder, under the name of its object."""
        for entry in self.ops.entries(self.root / folder):
            name = f"{folder}/{entry.name}"
            if entry.is_directory:
                yield from self.walk(name)
            else:
                yield StoredObject(name, entry.size, entry.mtime)

    def prepare(self) -> None:
        """Make every directory, so that the first pushes needn't."""
        self._make_durable(self.root / keys.UPLOADS)
        for algorithm in ALGORITHMS:
            parent = self.root / keys.BLOBS / algorithm
            self._make_durable(parent)
            shards = [parent / shard for shard in _SHARDS]
            for shard in shards:
                self.ops.make_directory(shard)
            self.ops.fsync_directory(parent)
            self._synced.update(shards)

    # Inside

    def _open_to_commit(self, source: Path) -> OpenFile:
        """The upload's file; an upload that never got a byte has none yet."""
        try:
            return OpenFile(self.ops, self.ops.open_write(source))
        except FileNotFoundError:
            self._make_durable(source.parent)
            return OpenFile(self.ops, self.ops.open_append(source))

    def _verify(self, path: Path, digest: Digest, size: int) -> None:
        hasher = Hasher(digest.algorithm)
        file = self.open_read(path)
        for offset in range(0, size, _VERIFY_BYTES):
            hasher.update(self.ops.read(file.fd, min(_VERIFY_BYTES, size - offset), offset))
        if hasher.digest() != digest:
            raise StoredBytesDiffer(
                f"the upload of {digest} lost bytes when the machine restarted; start it again"
            )

    def _publish(self, source: Path, target: Path) -> None:
        parent = target.parent
        try:
            self._make_durable(parent)
            self.ops.rename(source, target)
        except BaseException:
            self.forget(source)
            raise
        try:
            self.ops.fsync_directory(parent)
        except BaseException:
            self.forget(target)
            raise

    def _make_durable(self, directory: Path) -> None:
        """Make `directory` and what is above it, each name synced before anything is put below it.

        A directory that was there may have been made by a process that died before it synced the parent, so
        the first use in each process syncs it all the same; that makes its neighbours durable too.
        """
        if directory in self._synced:
            return
        if directory == self.root:
            self._make_root()
        else:
            parent = directory.parent
            self._make_durable(parent)
            self.ops.make_directory(directory)
            there = [parent / entry.name for entry in self.ops.entries(parent) if entry.is_directory]
            self.ops.fsync_directory(parent)
            self._synced.update(there)
        self._synced.add(directory)

    def _make_root(self) -> None:
        above = (self.root, *self.root.parents)
        missing = list(itertools.takewhile(lambda part: self.ops.size(part) is None, above))
        for part in reversed(missing):
            self.ops.make_directory(part)
            self.ops.fsync_directory(part.parent)
        self.ops.make_private(self.root)

    def _keep_reserve(self, path: Path) -> None:
        free = self.ops.free_bytes(path)
        if free >= self._reserve_bytes + PLENTY_BYTES:
            self._roomy_until = time.monotonic() + PLENTY_S
        if free < self._reserve_bytes:
            raise StorageFull(
                f"the disk of {self.root} has less than {human_size(self._reserve_bytes)} left",
                hint="free space on the data disk, or run: entrepot admin gc",
                retry_after_s=FULL_RETRY_AFTER_S,
            )
