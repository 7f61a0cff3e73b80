"""What a power cut and a failing disk may do to blobs: nothing that was acknowledged is lost (C5, C6,
D1-D3).

Every operation of a push is a moment to crash at; at each one every legal state of the disk is built and
looked at.
"""

import asyncio
import errno
import os
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from entrepot.oci.digest import Digest, Hasher
from entrepot.server.storage.errors import StorageFailed, StorageFull, StoredBytesDiffer, UploadShort
from entrepot.server.storage.filesystem import filesystem_store, tree
from entrepot.server.storage.filesystem.ops import FileOps
from entrepot.server.storage.store import BlobStore
from tests.faults.crashstates import Chunk, SimulatedDisk

pytestmark = pytest.mark.anyio

ROOT = Path("/simulated/store")
BODIES = [b"first layer", b"second, longer layer", b""]


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for piece in data:
        yield piece


async def push(store: BlobStore, body: bytes) -> str:
    upload, hasher = await store.new_upload(), Hasher()
    half = len(body) // 2
    for data in (body[:half], body[half:]):
        await store.append(upload, hasher.size, pieces(data), on_chunk=hasher.update)
    return await store.commit(upload, hasher.digest(), hasher.size)


async def lost_in_some_crash(disk: SimulatedDisk) -> list[str]:
    """Push all bodies on `disk`; what was acknowledged and missing or wrong in a legal crash state."""
    acknowledged: dict[str, bytes] = {}
    lost: list[str] = []

    def crash(_: SimulatedDisk) -> None:
        for state in disk.crash_states():
            lost.extend(phys for phys, body in acknowledged.items() if state.get(phys) != body)

    disk.after_each = crash
    store = filesystem_store(ROOT, disk)
    for body in BODIES:
        acknowledged[await push(store, body)] = body
        acknowledged[await store.put(Digest.of(body), body)] = body
        crash(disk)
    await store.close()
    return lost


async def test_no_crash_state_lacks_an_acknowledged_blob() -> None:
    """C5"""
    assert await lost_in_some_crash(SimulatedDisk(ROOT)) == []


class NoFsync(SimulatedDisk):
    def fsync(self, fd: int) -> None:
        self.log.append("skipped")


class NoDirectoryFsync(SimulatedDisk):
    def fsync_directory(self, path: Path) -> None:
        self.log.append("skipped")


class NoParentFsync(SimulatedDisk):
    """Syncs the directory of the blob, but not the one that this directory was made in."""

    def fsync_directory(self, path: Path) -> None:
        if len(path.name) == 2:
            super().fsync_directory(path)


@pytest.mark.parametrize(
    "careless", [NoFsync, NoDirectoryFsync, NoParentFsync], ids=lambda disk: disk.__name__
)
async def test_leaving_out_any_fsync_loses_something(careless: type[SimulatedDisk]) -> None:
    """C5, turned round: the checker notices when a step is missing."""
    assert await lost_in_some_crash(careless(ROOT))


async def test_upload_of_an_earlier_boot_is_read_again(tmp_path: Path) -> None:
    """C5: bytes that were never synced may be gone although their length is right."""
    body = b"0123456789" * 100
    before = filesystem_store(tmp_path, boot="a" * 12)
    good, torn = await before.new_upload(), await before.new_upload()
    for upload in (good, torn):
        await before.append(upload, 0, pieces(body), on_chunk=lambda _: None)
    (tmp_path / torn).write_bytes(bytes(len(body)))
    after = filesystem_store(tmp_path, boot="b" * 12)
    phys = await after.commit(good, Digest.of(body), len(body))
    assert await after.size(phys) == len(body)
    with pytest.raises(StoredBytesDiffer):
        await after.commit(torn, Digest.of(body), len(body))
    assert [stored async for stored in after.list_uploads()] == []
    for store in (before, after):
        await store.close()


class FailingOps(FileOps):
    """Fails the n-th call of one operation, once, with one error."""

    def __init__(self, operation: str, number: int, code: int) -> None:
        super().__init__()
        self.calls: list[str] = []
        self._operation = operation
        self._left = number
        self._code = code

    def _count(self, operation: str) -> None:
        self.calls.append(operation)
        if operation == self._operation:
            self._left -= 1
            if self._left == 0:
                raise OSError(self._code, os.strerror(self._code))

    def open_append(self, path: Path) -> int:
        self._count("open")
        return super().open_append(path)

    def open_write(self, path: Path) -> int:
        self._count("open")
        return super().open_write(path)

    def write(self, fd: int, buffers: Sequence[Chunk], offset: int) -> None:
        self._count("write")
        super().write(fd, buffers, offset)

    def fsync(self, fd: int) -> None:
        self._count("fsync")
        super().fsync(fd)

    def fsync_directory(self, path: Path) -> None:
        self._count("fsync-directory")
        super().fsync_directory(path)

    def rename(self, source: Path, target: Path) -> None:
        self._count("rename")
        super().rename(source, target)


async def prepared(root: Path, ops: FileOps) -> BlobStore:
    first = filesystem_store(root)
    await first.prepare()
    await first.close()
    store = filesystem_store(root, ops)
    # The same start for each case: directories are synced before the counting begins.
    store._driver._tree._synced.update({root, *(path for path in root.rglob("*") if path.is_dir())})
    return store


async def everything(root: Path) -> list[str]:
    return [path.name for path in root.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("operation", "code", "error"),
    [
        ("fsync", errno.EIO, StorageFailed),
        ("fsync-directory", errno.EIO, StorageFailed),
        ("rename", errno.ENOSPC, StorageFull),
        ("write", errno.ENOSPC, StorageFull),
        ("write", errno.EDQUOT, StorageFull),
        ("open", errno.EROFS, StorageFailed),
        ("open", errno.EMFILE, StorageFailed),
        ("open", errno.EACCES, StorageFailed),
        ("open", errno.ENOSPC, StorageFull),  # no inode left
    ],
)
async def test_failed_call_fails_the_push_and_leaves_nothing(
    tmp_path: Path, operation: str, code: int, error: type[StorageFailed]
) -> None:
    """C6, D1, D2: no file stays behind, an fsync is never tried again, and the next push works."""
    ops = FailingOps(operation, 1, code)
    store = await prepared(tmp_path, ops)
    with pytest.raises(error) as caught:
        await push(store, b"doomed")
    assert caught.value.retry_after_s is not None
    assert type(caught.value) is error
    assert await everything(tmp_path) == []
    assert ops.calls.count("fsync") <= 1
    phys = await push(store, b"fine again")
    assert await store.size(phys) == 10
    await store.close()


@pytest.mark.parametrize("operation", ["fsync", "fsync-directory"])
async def test_a_slow_disk_syncs_a_small_file_and_its_name_at_once(tmp_path: Path, operation: str) -> None:
    """C6, D3: each half waits for the other, and when one fails there is no file."""
    ops = PacedOps(operation, 3)
    store = await prepared(tmp_path, ops)
    kept = await store.put(Digest.of(b"that was slow"), b"that was slow")
    assert ops.at_once == 1
    phys = await store.put(Digest.of(b"both at once"), b"both at once")
    assert ops.at_once == 2
    with pytest.raises(StorageFailed):
        await store.put(Digest.of(b"doomed"), b"doomed")
    assert {tmp_path / kept, tmp_path / phys} == {path for path in tmp_path.rglob("*") if path.is_file()}
    await store.close()


class PacedOps(FailingOps):
    """The first sync is slow; from then on the two of a file wait until both are there, or for long."""

    def __init__(self, operation: str, number: int) -> None:
        super().__init__(operation, number, errno.EIO)
        self.at_once = 0
        self._meet = threading.Barrier(2)

    def fsync(self, fd: int) -> None:
        if not self.at_once:
            self.at_once = 1
            time.sleep(2 * tree.SLOW_SYNC_S * tree.SYNCS_REMEMBERED)
            self._count("fsync")
            os.fsync(fd)
            return
        self._meeting()
        super().fsync(fd)

    def fsync_directory(self, path: Path) -> None:
        if self.calls.count("fsync-directory"):
            self._meeting()
        super().fsync_directory(path)

    def _meeting(self) -> None:
        self._meet.wait(60)
        self.at_once = 2


async def test_failed_write_gives_back_only_what_its_request_took(tmp_path: Path) -> None:
    """D1: an earlier request's bytes stay, so the client goes on from there."""
    ops = FailingOps("write", 3, errno.ENOSPC)
    store = await prepared(tmp_path, ops)
    upload, hasher = await store.new_upload(), Hasher()
    await store.append(upload, 0, pieces(b"kept"), on_chunk=hasher.update)
    with pytest.raises(StorageFull):
        await store.append(upload, 4, pieces(b"x" * 600_000, b"y" * 600_000), on_chunk=hasher.update)
    assert await store.upload_size(upload) == 4
    await store.append(upload, 4, pieces(b" and more"), on_chunk=lambda _: None)
    phys = await store.commit(upload, Digest.of(b"kept and more"), 13)
    assert await store.size(phys) == 13
    await store.close()


async def test_uploads_leave_room_for_deletes(tmp_path: Path) -> None:
    """D1: a push is refused while there is still space for the catalog to work in."""
    store = filesystem_store(tmp_path, reserve_bytes=1 << 60)
    for doing in (push(store, b"too much"), store.put(Digest.of(b"x"), b"x"), store.check()):
        with pytest.raises(StorageFull):
            await doing
    assert await everything(tmp_path) == []
    await store.close()


class StuckOps(FileOps):
    """A disk whose fsync takes as long as the test likes."""

    def __init__(self) -> None:
        super().__init__()
        self.stuck = threading.Event()
        self.go_on = threading.Event()

    def fsync(self, fd: int) -> None:
        self.stuck.set()
        assert self.go_on.wait(60)
        super().fsync(fd)


async def test_slow_disk_does_not_hold_up_other_requests(tmp_path: Path) -> None:
    """D3: while one fsync hangs, reads, writes and the event loop go on."""
    ops = StuckOps()
    store = filesystem_store(tmp_path, ops)
    ops.go_on.set()
    phys = await store.put(Digest.of(b"there already"), b"there already")
    ops.go_on.clear()
    ops.stuck.clear()
    slow = asyncio.create_task(push(store, b"slow"))
    assert await asyncio.to_thread(ops.stuck.wait, 60)
    assert b"".join([piece async for piece in await store.open(phys)]) == b"there already"
    upload = await store.new_upload()
    await store.append(upload, 0, pieces(b"another"), on_chunk=lambda _: None)
    assert not slow.done()
    ops.go_on.set()
    assert await store.size(await slow) == 4
    await store.close()


async def test_cancelled_append_keeps_hash_and_file_together(tmp_path: Path) -> None:
    """C8: a server that stops mid-upload keeps what it has hashed, and hashes what it keeps."""
    store = filesystem_store(tmp_path)
    upload, hasher = await store.new_upload(), Hasher()
    arrived = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"z" * 400_000
        arrived.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(store.append(upload, 0, endless(), on_chunk=hasher.update))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await store.upload_size(upload) == hasher.size == 2_000_000
    with pytest.raises(UploadShort):
        await store.commit(upload, Digest.of(b""), 3_000_000)
    await store.close()


async def test_torn_file_never_looks_whole(tmp_path: Path) -> None:
    """C7: a reader that expects more bytes gets an error, not a clean end."""
    store = filesystem_store(tmp_path)
    body = os.urandom(600_000)
    phys = await store.put(Digest.of(body), body)
    (tmp_path / phys).write_bytes(body[:400_000])
    with pytest.raises(StoredBytesDiffer):
        async for _ in await store.open(phys, 0, len(body)):
            pass
    await store.close()


async def test_files_are_their_owners_alone(tmp_path: Path) -> None:
    store = filesystem_store(tmp_path / "store")
    await store.prepare()
    await push(store, b"secret")
    await store.write_identity("id", 1)
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "store").rglob("*") if path.is_dir()} == {
        0o700
    }
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "store").rglob("*") if path.is_file()} == {
        0o600
    }
    await store.close()
