"""An object store whose connections break, through a proxy that cuts them by a script (S1)."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import pytest

from entrepot.oci.digest import Digest, Hasher
from entrepot.server.storage.errors import BlobMissing, StorageFailed, StoredBytesDiffer
from entrepot.server.storage.objects import open_bucket
from entrepot.server.storage.store import BlobStore
from tests.support.seaweedfs import S3Location

pytestmark = pytest.mark.anyio

MIB = 1024 * 1024
DATA = random.Random(1).randbytes(3 * MIB)


_ERROR = b"<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>"
FALSE_SUCCESS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_ERROR), _ERROR)
)


class FlakyProxy:
    """Passes bytes on to the store; the next connections are cut as `script` says.

    An entry is the number of bytes of the answer that still come through; None: all.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self.script: list[int | None] = []
        self.cut = 0
        self.false_successes = 0
        """So many times the end of a large upload is answered with 200 and an error as its body."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        try:
            await asyncio.gather(self._pass(reader, up_writer, writer), self._answers(up_reader, writer))
        except OSError:
            pass
        finally:
            for each in (writer, up_writer):
                each.transport.abort()

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, client: asyncio.StreamWriter
    ) -> None:
        while data := await source.read(65536):
            if self.false_successes and data.startswith(b"POST ") and b"uploadId=" in data.split(b"\r\n")[0]:
                self.false_successes -= 1
                client.write(FALSE_SUCCESS)
                await client.drain()
                raise ConnectionResetError
            sink.write(data)
            await sink.drain()
        sink.close()

    async def _answers(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            if self.script:
                left = self.script[0]
                if left is not None and len(data) >= left:
                    self.script.pop(0)
                    self.cut += 1
                    sink.write(data[:left])
                    await sink.drain()
                    raise ConnectionResetError
                if left is not None:
                    self.script[0] = left - len(data)
            sink.write(data)
            await sink.drain()


@asynccontextmanager
async def flaky(location: S3Location) -> AsyncIterator[tuple[BlobStore, FlakyProxy]]:
    upstream = urlsplit(location.endpoint)
    proxy = FlakyProxy(upstream.hostname or "", upstream.port or 0)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    store = open_bucket(
        f"s3://{location.bucket}/{location.prefix}",
        endpoint=f"http://127.0.0.1:{port}",
        region="us-east-1",
        access_key_id=location.access_key,
        secret_access_key=location.secret_key,
        allow_http=True,
    )
    try:
        yield store, proxy
    finally:
        await store.close()
        server.close()


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 100_000):
        yield data[start : start + 100_000]


async def test_broken_download_goes_on_where_it_ended(s3_location: S3Location) -> None:
    async with flaky(s3_location) as (store, proxy):
        phys = await store.put(Digest.of(DATA), DATA)
        proxy.script = [500_000, 700_000, 0, 900_000]
        assert b"".join([piece async for piece in await store.open(phys, 0, len(DATA))]) == DATA
        assert proxy.cut >= 3


async def test_upload_is_whole_or_an_error(s3_location: S3Location) -> None:
    """The answer to a PUT is lost: it is sent again, and the blob is right."""
    async with flaky(s3_location) as (store, proxy):
        for script in ([0], [0, 0]):
            upload, hasher = await store.new_upload(), Hasher()
            proxy.script = list(script)
            await store.append(upload, 0, pieces(DATA), on_chunk=hasher.update)
            phys = await store.commit(upload, hasher.digest(), len(DATA))
            assert hasher.digest() == Digest.of(DATA)
            assert b"".join([piece async for piece in await store.open(phys)]) == DATA


async def test_success_that_is_an_error_is_not_believed(s3_location: S3Location) -> None:
    """S1: the end of a multipart upload is answered with 200 and an error in the body, as S3 may."""
    data = DATA * 8
    async with flaky(s3_location) as (store, proxy):
        upload, hasher = await store.new_upload(), Hasher()
        proxy.false_successes = 1
        try:
            await store.append(upload, 0, pieces(data), on_chunk=hasher.update)
        except StorageFailed:
            assert await store.upload_size(upload) == 0
            await store.append(upload, 0, pieces(data), on_chunk=lambda _: None)
        assert proxy.false_successes == 0
        phys = await store.commit(upload, Digest.of(data), len(data))
        assert Digest.of(b"".join([piece async for piece in await store.open(phys)])) == Digest.of(data)


async def test_object_that_vanishes_is_never_a_short_answer(s3_location: S3Location) -> None:
    """S3: a lifecycle rule took the object while it was read."""
    async with flaky(s3_location) as (store, proxy):
        phys = await store.put(Digest.of(DATA), DATA)
        stream = await store.open(phys, 0, len(DATA))
        proxy.script = [1_000_000]
        got = await anext(stream)
        proxy.script = []
        await store.delete(phys)
        try:
            async for piece in stream:
                got += piece
        except (BlobMissing, StorageFailed, StoredBytesDiffer):
            return
        assert got == DATA
