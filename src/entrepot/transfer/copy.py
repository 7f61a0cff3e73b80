"""Doing what a plan says.

1. blobs, several at a time: there already? mountable? else moved and verified on the way
2. manifests, children first, the tag last: until then the sink shows nothing new

One blob that fails stops the others; the first failure is what the caller sees. What has arrived stays
with the sink, which tells a later run by `blob_offset`.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import Protocol, runtime_checkable

import msgspec
from msgspec.structs import replace

from entrepot.content.errors import Interrupted
from entrepot.content.protocols import CancelToken, ManifestBytes, PutResult, Sink, Source
from entrepot.errors import Cancelled, InvalidInput, VerificationFailed
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.transfer import progress as event
from entrepot.transfer.limits import DEFAULT, TransferLimits
from entrepot.transfer.plan import Plan, PlannedBlob, PlatformChoice, mount_candidates
from entrepot.transfer.progress import Events, ignore
from entrepot.transfer.reading import read_plan

_STOP_TIMEOUT_S = 5.0
_MAX_ASKED_DELAY_S = 90.0

MountFrom = Callable[[Descriptor], Iterable[str]]
"""Repositories of the sink's registry that may have a blob."""


@runtime_checkable
class TagCreator(Protocol):
    """A sink that can create a tag without ever moving one."""

    def create_tag(self, manifest: ManifestBytes, tag: str) -> None:
        """Store the manifest under a new tag; fine when the tag holds it already. Raises Conflict."""
        ...


class CopyResult(msgspec.Struct, frozen=True):
    """What a copy did."""

    root: ManifestBytes
    """What the source's reference names."""
    top: ManifestBytes
    """What the sink's tag names now; the root, or a part of it."""
    tag: str | None
    moved_blobs: int
    moved_bytes: int
    present_blobs: int
    """Blobs that were there already or could be mounted."""

    @property
    def digest(self) -> Digest:
        """Of the root: what docker prints as `Digest:` after a pull."""
        return self.root.digest


def copy(
    source: Source,
    sink: Sink,
    *,
    reference: str | Digest,
    to: str | None,
    platforms: PlatformChoice | None = None,
    limits: TransferLimits = DEFAULT,
    events: Events = ignore,
    cancel: CancelToken | None = None,
    mount_from: MountFrom | None = None,
    if_absent: bool = False,
) -> CopyResult:
    """Copy what `reference` names in `source` to `sink`, where `to` is its tag (None: by digest alone).

    `platforms` (default: all) narrows an index. With `if_absent` the sink refuses to move a tag.
    Raises NoMatchingPlatform, GraphTooDeep, GraphTooLarge, VerificationFailed, Cancelled, and whatever source
    and sink raise.
    """
    token = cancel or CancelToken()
    root = source.get_manifest(reference)
    token.check()
    plan = read_plan(source, root, platforms=platforms, limits=limits)
    return carry_out(
        plan, source, sink, to=to, limits=limits, events=events, cancel=token, mount_from=mount_from,
        if_absent=if_absent,
    )  # fmt: skip


def carry_out(
    plan: Plan,
    source: Source,
    sink: Sink,
    *,
    to: str | None,
    limits: TransferLimits = DEFAULT,
    events: Events = ignore,
    cancel: CancelToken | None = None,
    mount_from: MountFrom | None = None,
    if_absent: bool = False,
) -> CopyResult:
    """The copy a plan was made for; of the source only blobs are read. Arguments and errors are `copy`'s."""
    token = cancel or CancelToken()
    emit = _Serial(events)
    outcome = _move_blobs(source, sink, plan, limits, emit, token, mount_from)
    token.check()
    _put_manifests(sink, plan, to, emit, if_absent=if_absent)
    return CopyResult(
        plan.root, plan.top, to, outcome.moved_blobs, outcome.moved_bytes, outcome.present_blobs
    )


def looked_up(plan: Plan, sink: Sink) -> Plan:
    """The plan with what the sink has already, for who wants to tell it before the copy; which then asks no
    second time. One after another: for places on a disk. Others are asked while blobs are moved."""
    blobs = (replace(blob, is_there=sink.has_blob(blob.descriptor)) for blob in plan.blobs)
    return replace(plan, blobs=tuple(blobs))


# Moving blobs


class _Serial:
    """Hands events on one at a time."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._lock = threading.Lock()

    def __call__(self, one: event.Event) -> None:
        with self._lock:
            self._events(one)


class _Outcome(msgspec.Struct):
    moved_blobs: int = 0
    moved_bytes: int = 0
    present_blobs: int = 0


def _move_blobs(
    source: Source,
    sink: Sink,
    plan: Plan,
    limits: TransferLimits,
    emit: Events,
    cancel: CancelToken,
    mount_from: MountFrom | None,
) -> _Outcome:
    for blob in plan.blobs:
        emit(event.BlobWaiting(blob.descriptor, blob.role))
    crew = _Crew(_Mover(source, sink, limits, emit, cancel, mount_from), cancel)
    crew.work(plan.blobs, limits.parallel)
    return crew.outcome


class _Crew:
    """Threads that take blobs from a queue until it is empty or something fails.

    They are daemons: one that waits for a silent server does not keep a stopped process alive.
    """

    def __init__(self, mover: _Mover, cancel: CancelToken) -> None:
        self._mover = mover
        self._cancel = cancel
        self._queue: queue.SimpleQueue[PlannedBlob] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._error: BaseException | None = None
        self.outcome = _Outcome()

    def work(self, blobs: Iterable[PlannedBlob], parallel: int) -> None:
        """Returns when all is done; raises the first error, after the others have stopped."""
        count = 0
        for blob in blobs:
            self._queue.put(blob)
            count += 1
        threads = [
            threading.Thread(target=self._run, name=f"entrepot-copy-{number}", daemon=True)
            for number in range(min(parallel, count))
        ]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive() and self._error is None:
                    # Wakes up for signals, and to see an error of another thread.
                    thread.join(0.2)
        except BaseException:
            self._mover.stop()
            raise
        if self._error is not None:
            for thread in threads:
                thread.join(_STOP_TIMEOUT_S)
            raise self._error

    def _run(self) -> None:
        while self._error is None:
            try:
                blob = self._queue.get_nowait()
            except queue.Empty:
                return
            try:
                self._cancel.check()
                result, moved = self._mover.move(blob)
            except BaseException as error:  # noqa: BLE001 - carried to the caller's thread
                with self._lock:
                    # The first failure counts; those it caused (everybody stops) do not replace it.
                    if self._error is None:
                        self._error = error
                self._mover.stop()
                return
            with self._lock:
                self.outcome.moved_bytes += moved
                if result is PutResult.STORED:
                    self.outcome.moved_blobs += 1
                else:
                    self.outcome.present_blobs += 1


class _Mover:
    """Brings one blob to the sink."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        limits: TransferLimits,
        emit: Events,
        cancel: CancelToken,
        mount_from: MountFrom | None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._limits = limits
        self.emit = emit
        self._cancel = cancel
        self._stopped = threading.Event()
        self._mount_from = mount_from

    def stop(self) -> None:
        """Let every thread end at its next piece."""
        self._stopped.set()

    def move(self, blob: PlannedBlob) -> tuple[PutResult, int]:
        """What happened, and how many bytes were moved."""
        descriptor, role = blob.descriptor, blob.role
        is_there = self._sink.has_blob(descriptor) if blob.is_there is None else blob.is_there
        if is_there:
            self.emit(event.BlobExists(descriptor, role))
            return PutResult.EXISTED, 0
        if (mounted := self._mount(descriptor)) is not None:
            self.emit(event.BlobMounted(descriptor, role, mounted))
            return PutResult.MOUNTED, 0
        result, moved = self._transfer(descriptor, role)
        if result is PutResult.EXISTED:
            self.emit(event.BlobExists(descriptor, role))
        else:
            self.emit(event.BlobDone(descriptor, role))
        return result, moved

    def _mount(self, descriptor: Descriptor) -> str | None:
        if self._mount_from is None:
            return None
        for repository in mount_candidates(self._mount_from(descriptor)):
            if self._sink.mount_blob(descriptor, repository):
                return repository
        return None

    def _transfer(self, descriptor: Descriptor, role: event.Role) -> tuple[PutResult, int]:
        failures = 0
        began = restarted = False
        moved = 0
        while True:
            offset = self._sink.blob_offset(descriptor)
            counter = _Counter(self, descriptor, role, offset)
            if not began:
                began = True
                self.emit(event.BlobStarted(descriptor, role, offset))
            try:
                with self._source.open_blob(descriptor, offset=offset) as stream:
                    result = self._sink.put_blob(descriptor, stream, offset=offset, progress=counter)
                return result, moved + counter.moved
            except Interrupted as error:
                moved += counter.moved
                held = self._sink.blob_offset(descriptor)
                failures = 1 if held > offset else failures + 1
                if failures > self._limits.interruptions:
                    raise
                delay_s = self._delay_s(failures, error.retry_after_s)
                if delay_s is None:
                    raise
                self.emit(event.BlobInterrupted(descriptor, role, str(error), held, delay_s))
                self._cancel.wait(delay_s)
                self.check()
            except VerificationFailed:
                # The part an earlier run left may be the damaged one: once more, from the first byte.
                if not offset or restarted or self._sink.blob_offset(descriptor):
                    raise
                restarted = True

    def _delay_s(self, failures: int, asked_s: float | None) -> float | None:
        if asked_s is not None and asked_s > _MAX_ASKED_DELAY_S:
            return None
        computed = min(self._limits.max_delay_s, self._limits.base_delay_s * 2.0 ** (failures - 1))
        return max(computed, asked_s or 0.0)

    def check(self) -> None:
        self._cancel.check()
        if self._stopped.is_set():
            raise Cancelled("stopped because another part of the copy failed")


class _Counter:
    """Progress of one blob; also the point where a stopped copy ends."""

    def __init__(self, mover: _Mover, descriptor: Descriptor, role: event.Role, offset: int) -> None:
        self._mover = mover
        self._descriptor = descriptor
        self._role = role
        self._offset = offset
        self.moved = 0

    def __call__(self, count: int) -> None:
        self._mover.check()
        self.moved += count
        done = self._offset + self.moved
        self._mover.emit(event.BlobProgress(self._descriptor, self._role, done))
        if done == self._descriptor.size:
            self._mover.emit(event.BlobVerifying(self._descriptor, self._role))


# Manifests


def _put_manifests(sink: Sink, plan: Plan, tag: str | None, emit: Events, *, if_absent: bool) -> None:
    top = plan.top
    for node in plan.manifests:
        manifest = node.manifest
        if manifest.digest == top.digest:
            continue
        sink.put_manifest(manifest, None)
        emit(event.ManifestStored(manifest.descriptor(), None, len(manifest.raw)))
    if if_absent and tag is not None:
        if not isinstance(sink, TagCreator):
            raise InvalidInput("this destination cannot tell whether a tag is taken; leave --if-absent away")
        sink.create_tag(top, tag)
    else:
        sink.put_manifest(top, tag)
    emit(event.ManifestStored(top.descriptor(), tag, len(top.raw)))
