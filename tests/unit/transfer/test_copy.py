"""Copying between places in memory: order, failure, cancellation, interruption."""

import threading
from collections.abc import Callable

import msgspec
import pytest

from entrepot.content.errors import GraphTooDeep, GraphTooLarge, Interrupted
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import BlobStream, CancelToken, ManifestBytes, PutResult
from entrepot.errors import Cancelled, InvalidInput, NotFound, VerificationFailed
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_index, build_manifest
from entrepot.oci.platform import Platform
from entrepot.transfer import progress
from entrepot.transfer.copy import carry_out, copy, looked_up
from entrepot.transfer.limits import TransferLimits
from entrepot.transfer.plan import PlatformChoice
from entrepot.transfer.reading import read_plan

QUICK = TransferLimits(base_delay_s=0.0, max_delay_s=0.0)
ALONE = TransferLimits(parallel=1, base_delay_s=0.0, max_delay_s=0.0)


def add_image(store: MemoryStore, *layers: bytes, platform: Platform | None = None) -> Descriptor:
    config = store.add_blob(b'{"for":"%s"}' % str(platform).encode(), mediatype.OCI_CONFIG)
    described = [store.add_blob(layer, mediatype.OCI_LAYER_GZIP) for layer in layers]
    manifest = ManifestBytes.from_manifest(build_manifest(config, described))
    store.put_manifest(manifest, None)
    return Descriptor(manifest.media_type, manifest.digest, len(manifest.raw), platform=platform)


@pytest.fixture
def source() -> MemoryStore:
    """An index `all` of two platforms that share a layer, and an image `one`."""
    store = MemoryStore()
    amd = add_image(store, b"base" * 50_000, b"amd", platform=Platform("linux", "amd64"))
    arm = add_image(store, b"base" * 50_000, b"arm", platform=Platform("linux", "arm64"))
    store.put_manifest(ManifestBytes.from_manifest(build_index([amd, arm])), "all")
    store.put_manifest(store.manifests[amd.digest], "one")
    return store


class Recording(MemoryStore):
    """Notes the order of what is put."""

    def __init__(self) -> None:
        super().__init__()
        self.order: list[Digest | str] = []

    def put_manifest(self, manifest: ManifestBytes, reference: str | None, /) -> None:
        super().put_manifest(manifest, reference)
        self.order.append(reference or manifest.digest)


def test_a_whole_index_is_copied_children_first_and_the_tag_last(source: MemoryStore) -> None:
    target = Recording()
    result = copy(source, target, reference="all", to="copied")
    assert target.manifests.keys() == {digest for digest in source.manifests if digest in target.manifests}
    assert target.order[-1] == "copied"
    assert len(target.order) == 3
    assert target.tags == {"copied": source.tags["all"]}
    assert result.root == result.top
    assert result.moved_blobs == len(target.blobs) == 5


def test_one_platform_becomes_the_tag_and_the_index_stays_known(source: MemoryStore) -> None:
    target = MemoryStore()
    choice = PlatformChoice.one(Platform.parse("linux/arm64"))
    result = copy(source, target, reference="all", to="t", platforms=choice)
    assert result.digest == source.tags["all"]
    assert target.tags["t"] == result.top.digest != result.digest
    assert list(target.manifests) == [result.top.digest]


def test_several_platforms_become_a_smaller_index(source: MemoryStore) -> None:
    third = add_image(source, b"s390", platform=Platform("linux", "s390x"))
    entries = list(source.manifests[source.tags["all"]].parse().references()[1])
    source.put_manifest(ManifestBytes.from_manifest(build_index([*entries, third])), "three")
    target = MemoryStore()
    wanted = [Platform.parse("linux/s390x"), Platform.parse("linux/amd64")]
    result = copy(source, target, reference="three", to="t", platforms=PlatformChoice.some(wanted))
    children = result.top.parse().references()[1]
    assert {str(child.platform) for child in children} == {"linux/amd64", "linux/s390x"}
    assert len(target.manifests) == 3


def test_m5_indexes_of_one_platform_in_one_another_have_an_end(source: MemoryStore) -> None:
    platform = Platform("linux", "amd64")
    below = add_image(source, b"amd", platform=platform)
    for level in range(9):
        index = build_index([below], annotations={"level": str(level)})
        source.put_manifest(ManifestBytes.from_manifest(index), f"level{level}")
        below = msgspec.structs.replace(index.descriptor(), platform=platform)
    choice = PlatformChoice.one(platform)
    assert copy(source, MemoryStore(), reference="level7", to="t", platforms=choice).moved_blobs == 2
    with pytest.raises(GraphTooDeep):
        copy(source, MemoryStore(), reference="level8", to="t", platforms=choice)


def test_m5_too_many_manifests_stop_a_copy_while_they_are_read(source: MemoryStore) -> None:
    target = Recording()
    with pytest.raises(GraphTooLarge):
        copy(source, target, reference="all", to="t", limits=TransferLimits(max_manifests=2))
    assert (target.order, target.blobs) == ([], {})


def test_a_copy_again_moves_nothing(source: MemoryStore) -> None:
    target = MemoryStore()
    copy(source, target, reference="all", to="t")
    events: list[progress.Event] = []
    again = copy(source, target, reference="all", to="t", events=events.append)
    assert (again.moved_blobs, again.moved_bytes, again.present_blobs) == (0, 0, 5)
    assert sum(isinstance(one, progress.BlobExists) for one in events) == 5


def test_blobs_are_mounted_where_they_are(source: MemoryStore) -> None:
    neighbour = MemoryStore()
    copy(source, neighbour, reference="one", to="t")
    target = MemoryStore({"team/app": neighbour})
    events: list[progress.Event] = []
    result = copy(
        source,
        target,
        reference="one",
        to="t",
        events=events.append,
        mount_from=lambda _: ["elsewhere", "team/app"],
    )
    assert result.moved_bytes == 0
    mounted = [one for one in events if isinstance(one, progress.BlobMounted)]
    assert {one.from_repository for one in mounted} == {"team/app"}
    assert len(mounted) == 3


def test_events_tell_a_blobs_life_in_order(source: MemoryStore) -> None:
    events: list[progress.Event] = []
    copy(source, MemoryStore(), reference="one", to="t", events=events.append, limits=ALONE)
    kinds = [type(one).__name__ for one in events]
    assert kinds[:3] == ["BlobWaiting"] * 3
    assert kinds[-1] == "ManifestStored"
    base = Digest.of(b"base" * 50_000)
    life = [type(one).__name__ for one in events if one.descriptor.digest == base]
    assert list(dict.fromkeys(life)) == [
        "BlobWaiting",
        "BlobStarted",
        "BlobProgress",
        "BlobVerifying",
        "BlobDone",
    ]
    done = [
        one.done for one in events if isinstance(one, progress.BlobProgress) and one.descriptor.digest == base
    ]
    assert done == sorted(done)
    assert done[-1] == 200_000


class Failing(MemoryStore):
    """A sink whose `put_blob` does what a test says for one digest."""

    def __init__(self, digest: Digest, act: Callable[[], None]) -> None:
        super().__init__()
        self._digest = digest
        self._act = act

    def put_blob(
        self,
        descriptor: Descriptor,
        stream: BlobStream,
        *,
        offset: int = 0,
        progress: Callable[[int], None] | None = None,
    ) -> PutResult:
        if descriptor.digest == self._digest:
            self._act()
        return super().put_blob(descriptor, stream, offset=offset, progress=progress)


def test_the_first_failure_is_what_the_caller_sees(source: MemoryStore) -> None:
    del source.blobs[Digest.of(b"amd")]
    target = MemoryStore()
    with pytest.raises(NotFound):
        copy(source, target, reference="one", to="t")
    assert target.manifests == {}


class Endless:
    """A stream that goes on for as long as anybody reads, from when `started` is set."""

    def __init__(self, started: threading.Event) -> None:
        self._started = started

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        buffer[:1] = self.read(1)
        return 1

    def read(self, size: int = -1, /) -> bytes:
        assert self._started.wait(60)
        return b"x"

    def close(self) -> None: ...

    def __enter__(self) -> "Endless":
        return self

    def __exit__(self, *_: object) -> None: ...


def test_a_failing_blob_stops_one_that_is_moving() -> None:
    failed = threading.Event()

    class OneBadBlob(MemoryStore):
        def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
            if descriptor.size == 1:
                failed.set()
                raise NotFound("no such blob")
            return Endless(failed)

    source = OneBadBlob()
    huge = Descriptor(mediatype.OCI_LAYER, Digest.of(b"huge"), 2**40)
    bad = Descriptor(mediatype.OCI_LAYER, Digest.of(b"b"), 1)
    manifest = ManifestBytes.from_manifest(build_manifest(huge, [bad]))
    source.manifests[manifest.digest] = manifest
    with pytest.raises(NotFound, match="no such blob"):
        copy(source, MemoryStore(), reference=manifest.digest, to="t", limits=QUICK)


def test_a_cancelled_copy_ends_and_stores_no_manifest(source: MemoryStore) -> None:
    token = CancelToken()
    target = MemoryStore()

    def stop(one: progress.Event) -> None:
        if isinstance(one, progress.BlobStarted):
            token.cancel()

    with pytest.raises(Cancelled):
        copy(source, target, reference="all", to="t", events=stop, cancel=token)
    assert target.manifests == {}


def test_interruptions_are_waited_out_while_there_is_progress(source: MemoryStore) -> None:
    left = [1, 2, 3]

    def act() -> None:
        if left:
            left.pop()
            raise Interrupted("the line broke")

    target = Failing(Digest.of(b"amd"), act)
    events: list[progress.Event] = []
    copy(source, target, reference="one", to="t", limits=QUICK, events=events.append)
    assert sum(isinstance(one, progress.BlobInterrupted) for one in events) == 3
    assert "t" in target.tags


def test_interruptions_without_progress_end(source: MemoryStore) -> None:
    calls: list[int] = []

    def act() -> None:
        calls.append(1)
        raise Interrupted("the line broke")

    with pytest.raises(Interrupted):
        copy(source, Failing(Digest.of(b"amd"), act), reference="one", to="t", limits=QUICK)
    assert len(calls) == QUICK.interruptions + 1


def test_wrong_bytes_are_not_tried_twice(source: MemoryStore) -> None:
    source.blobs[Digest.of(b"amd")] = b"xyz"
    with pytest.raises(VerificationFailed):
        copy(source, MemoryStore(), reference="one", to="t")


def test_if_absent_needs_a_sink_that_can_tell(source: MemoryStore) -> None:
    with pytest.raises(InvalidInput):
        copy(source, MemoryStore(), reference="one", to="t", if_absent=True)


class Asked(MemoryStore):
    """Counts the questions for blobs."""

    def __init__(self) -> None:
        super().__init__()
        self.questions: list[Digest] = []

    def has_blob(self, descriptor: Descriptor) -> bool:
        self.questions.append(descriptor.digest)
        return super().has_blob(descriptor)

    def put_blob(self, *args: object, **options: object) -> PutResult:
        asked = list(self.questions)
        try:
            return super().put_blob(*args, **options)  # type: ignore[arg-type]
        finally:
            self.questions = asked  # what a sink does for itself is no question


@pytest.mark.parametrize("before", [False, True])
def test_a_sink_is_asked_once_for_each_blob_also_when_the_answers_are_told_first(
    before: bool, source: MemoryStore
) -> None:
    target = Asked()
    target.add_blob(b"base" * 50_000)
    plan = read_plan(source, source.get_manifest("one"))
    if before:
        plan = looked_up(plan, target)
        assert [blob.is_there for blob in plan.blobs] == [False, True, False]
    result = carry_out(plan, source, target, to="t", limits=ALONE)
    assert sorted(target.questions, key=str) == sorted((b.descriptor.digest for b in plan.blobs), key=str)
    assert (result.moved_blobs, result.present_blobs) == (2, 1)
    assert target.tags == {"t": plan.top.digest}


def test_carrying_out_a_plan_reads_no_manifest_again(source: MemoryStore) -> None:
    choice = PlatformChoice.some([Platform.parse("linux/amd64"), Platform.parse("linux/arm64")])
    plan = read_plan(source, source.get_manifest("all"), platforms=choice)
    source.manifests.clear()
    target = MemoryStore()
    carry_out(plan, source, target, to="t")
    assert target.tags == {"t": plan.top.digest}
    assert len(target.manifests) == 3
