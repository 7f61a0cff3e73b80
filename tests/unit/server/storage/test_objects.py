"""U10: the sizes of parts, where a real store would need gigabytes to tell; a bucket that is not there."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.errors import StorageFailed
from entrepot.server.storage.objects import LEAST_PART_BYTES, MAX_PARTS, PART_BYTES, open_bucket, part_size

MIB, GIB = 1024**2, 1024**3


@pytest.mark.parametrize("largest", [0, 1, 5 * MIB, 64 * GIB, 80 * GIB, 100 * GIB, 5000 * GIB])
@pytest.mark.parametrize("wanted", [1, 5 * MIB, 8 * MIB, 100 * MIB])
def test_every_blob_fits_into_parts_that_stores_take(largest: int, wanted: int) -> None:
    size = part_size(largest, wanted)
    assert size >= LEAST_PART_BYTES == 5 * MIB
    assert size >= wanted
    assert size <= 5 * GIB
    assert -(-largest // size) <= MAX_PARTS == 10_000


def test_default_parts_are_enough_for_the_default_limit() -> None:
    assert part_size(64 * GIB) == PART_BYTES
    assert part_size(64 * GIB, 5 * MIB) * MAX_PARTS >= 64 * GIB


class _NoBucket(BaseHTTPRequestHandler):
    """A store as it answers for a bucket that nobody has made."""

    def _answer(self) -> None:
        body = b"<?xml version='1.0'?><Error><Code>NoSuchBucket</Code><Message>no</Message></Error>"
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _answer

    def log_message(self, *_: object) -> None:
        """Not into the tests' output."""


@pytest.fixture
def no_bucket() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NoBucket)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.anyio
async def test_a_bucket_that_is_not_there_is_no_missing_blob(no_bucket: str) -> None:
    """S1: it is told as such, by reads too: a scrub must not take blobs for lost."""
    store = open_bucket(
        "s3://nobody/made", endpoint=no_bucket, access_key_id="a", secret_access_key="b", allow_http=True
    )
    phys = keys.segment_key(keys.object_upload_key(), 0)
    try:
        for call in (store.read_identity, store.check):
            with pytest.raises(StorageFailed, match="the bucket is not there") as refused:
                await call()
            assert "create it" in str(refused.value.hint)
        with pytest.raises(StorageFailed, match="the bucket is not there"):
            await store.put(Digest.of(b"x"), b"x")
        with pytest.raises(StorageFailed, match="the bucket is not there"):
            async for _ in store.list():
                pass
        with pytest.raises(StorageFailed, match="the bucket is not there"):
            await store.open(phys, 0, 1)
    finally:
        await store.close()
