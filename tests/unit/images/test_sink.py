"""The store as a place to copy to and from: what arrives half, twice, damaged, or not at all."""

import errno
import io
from pathlib import Path

import pytest

from entrepot.content.errors import Interrupted, ManifestNotFound
from entrepot.content.protocols import PutResult
from entrepot.content.verify import DigestMismatch
from entrepot.images.errors import StoreFull
from entrepot.images.sink import StoreSink
from entrepot.images.source import StoreSource
from entrepot.images.store import ImageStore
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference
from tests.unit.images.makers import add_image


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "store")


LAYER = bytes(range(256)) * 4096


def layer() -> Descriptor:
    return Descriptor(mediatype.OCI_LAYER, Digest.of(LAYER), len(LAYER))


class Broken(io.BytesIO):
    """Ends with an error instead of an end."""

    def readinto(self, buffer: object, /) -> int:
        if not (count := super().readinto(buffer)):  # type: ignore[arg-type]
            raise ConnectionError("gone")
        return count


def test_download_goes_on_in_another_run(store: ImageStore) -> None:
    with StoreSink(store) as sink, pytest.raises(ConnectionError):
        sink.put_blob(layer(), Broken(LAYER[:300_000]))
    assert not store.blobs.has(layer().digest)
    with StoreSink(ImageStore(store.root)) as sink:
        assert sink.blob_offset(layer()) == 300_000
        assert sink.put_blob(layer(), io.BytesIO(LAYER[300_000:]), offset=300_000) is PutResult.STORED
    assert store.blobs.read(layer().digest) == LAYER
    assert list(store.paths.partials.iterdir()) == []


def test_damaged_partial_download_is_found_and_dropped(store: ImageStore) -> None:
    store.prepare()
    store.paths.partial(layer().digest).write_bytes(b"x" * 300_000)
    with StoreSink(store) as sink:
        assert sink.blob_offset(layer()) == 300_000
        with pytest.raises(DigestMismatch):
            sink.put_blob(layer(), io.BytesIO(LAYER[300_000:]), offset=300_000)
        assert sink.blob_offset(layer()) == 0
        sink.put_blob(layer(), io.BytesIO(LAYER))


def test_two_sinks_may_bring_the_same_blob(store: ImageStore) -> None:
    with StoreSink(store) as first, StoreSink(ImageStore(store.root)) as second:
        assert first.blob_offset(layer()) == 0
        assert second.blob_offset(layer()) == 0
        assert second.put_blob(layer(), io.BytesIO(LAYER)) is PutResult.STORED
        assert first.put_blob(layer(), io.BytesIO(LAYER)) is PutResult.EXISTED
    assert store.blobs.read(layer().digest) == LAYER


def test_partial_that_another_process_took_over_starts_over(store: ImageStore) -> None:
    store.prepare()
    store.paths.partial(layer().digest).write_bytes(LAYER[:1000])
    with StoreSink(store) as first, StoreSink(ImageStore(store.root)) as second:
        assert first.blob_offset(layer()) == 1000
        with pytest.raises(Interrupted):
            second.put_blob(layer(), io.BytesIO(LAYER[1000:]), offset=1000)
        assert second.blob_offset(layer()) == 0


def test_given_up_downloads_are_removed_but_not_those_in_work(store: ImageStore) -> None:
    store.prepare()
    store.paths.partial(Digest.of(b"old")).write_bytes(b"12345")
    store.paths.partial(layer().digest).write_bytes(LAYER[:10])
    with StoreSink(store) as sink:
        sink.blob_offset(layer())
        assert store.give_up_partials() == 5
    assert store.give_up_partials() == 10


class NoRoom(io.BytesIO):
    """Fills the disk after a while."""

    def readinto(self, buffer: object, /) -> int:
        if self.tell():
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().readinto(memoryview(buffer)[:1000])  # type: ignore[arg-type]


def test_a_full_disk_is_said_and_what_had_arrived_is_kept(store: ImageStore) -> None:
    with StoreSink(store) as sink:
        with pytest.raises(StoreFull, match=str(layer().digest)):
            sink.put_blob(layer(), NoRoom(LAYER))
        assert sink.blob_offset(layer()) == 1000


def test_what_a_sink_has_seen_stays_until_it_is_closed(store: ImageStore) -> None:
    store.prepare()
    digest = store.blobs.put_bytes(LAYER)
    with StoreSink(store) as sink:
        assert sink.has_blob(layer())
        assert store.collect().blobs == ()
    assert store.collect().blobs == (digest,)


def test_a_source_knows_the_tags_of_its_repository(store: ImageStore) -> None:
    image = add_image(store, "app:1", "app:2", "other:3")
    source = StoreSource(store, Reference.parse("app"))
    assert list(source.list_tags()) == ["1", "2"]
    assert source.get_manifest("2").digest == image.target.digest
    source.delete_tag("2")
    for tag in ("2", "3"):
        with pytest.raises(ManifestNotFound):
            source.get_manifest(tag)
    assert StoreSource(store).get_manifest(image.target.digest) == source.get_manifest("1")
