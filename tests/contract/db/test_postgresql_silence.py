"""B2: a database, or the pooler before it, that is frozen: connected, acknowledging, and silent."""

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import Connection, text

from entrepot.server.db import Catalog, open_catalog, silence
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.settings import get_setting, set_setting
from entrepot.server.db.silence import DatabaseSilent, SilenceWatch
from tests.contract.db.test_catalog import VALUE

pytestmark = pytest.mark.anyio

NEVER_S = 30
"""Far longer than it takes to notice silence, and shorter than the 40 s and more it took before."""


class Pooler:
    """Passes bytes on, or, frozen, takes connections and keeps what they send to itself."""

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._thawed = threading.Event()
        self._thawed.set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        self._thawed.clear()
        try:
            yield
        finally:
            self._thawed.set()

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._thawed.wait()
        with (
            contextlib.suppress(OSError),
            client,
            socket.create_connection(("127.0.0.1", self._upstream)) as up,
        ):
            back = threading.Thread(target=self._pump, args=(up, client), daemon=True)
            back.start()
            self._pump(client, up)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._thawed.wait()
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


@pytest.fixture
def pooler(migrated_postgresql_url: str) -> Iterator[Pooler]:
    port = parse_catalog_url(migrated_postgresql_url).port
    assert port is not None
    made = Pooler(port)
    yield made
    made.close()


@pytest.fixture
async def catalog(migrated_postgresql_url: str, pooler: Pooler) -> AsyncIterator[Catalog]:
    url = parse_catalog_url(migrated_postgresql_url).set(host="127.0.0.1", port=pooler.port)
    opened = open_catalog(url.render_as_string(hide_password=False))
    yield opened
    await opened.close()


async def test_who_waits_for_a_frozen_database_is_told_and_who_comes_later_does_not_wait(
    catalog: Catalog, pooler: Pooler
) -> None:
    await catalog.write(set_setting, "colour", "red")
    await catalog.hot(VALUE, name="colour")
    began = time.monotonic()
    with pooler.frozen():
        # More than there are connections: those who queue for one hear it, too.
        waiting = [asyncio.ensure_future(catalog.hot(VALUE, name="colour")) for _ in range(20)]
        waiting += [asyncio.ensure_future(catalog.read(get_setting, "colour")) for _ in range(20)]
        waiting += [asyncio.ensure_future(catalog.write(set_setting, "n", str(n))) for n in range(20)]
        for each in waiting:
            with pytest.raises(CatalogUnavailable) as refused:
                await each
            assert refused.value.retry_after_s
        assert time.monotonic() - began < NEVER_S
        before = time.monotonic()
        for _ in range(50):
            with pytest.raises(CatalogUnavailable, match="does not answer"):
                await catalog.hot(VALUE, name="colour")
        assert time.monotonic() - before < 2  # fifty times of not waiting at all
    while True:
        with contextlib.suppress(CatalogUnavailable):
            assert await catalog.read(get_setting, "colour") == "red"
            break
        await asyncio.sleep(0.1)
    await catalog.write(set_setting, "colour", "green")
    assert [tuple(row) for row in await catalog.hot(VALUE, name="colour")] == [("green",)]


async def test_a_change_that_was_being_saved_is_told_as_unknown(catalog: Catalog, pooler: Pooler) -> None:
    freeze = contextlib.ExitStack()

    def frozen_at_the_end(connection: Connection) -> None:
        set_setting(connection, "half", "saved")
        freeze.enter_context(pooler.frozen())

    with freeze:
        with pytest.raises(CatalogUnavailable) as refused:
            await catalog.write(frozen_at_the_end)
        assert refused.value.outcome_unknown


async def test_a_slow_statement_is_left_alone_while_the_database_answers(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "LONG_S", 0.2)
    monkeypatch.setattr(silence, "PAUSE_S", 0.1)

    def slow(connection: Connection) -> str:
        connection.execute(text("SELECT pg_sleep(2)"))
        return "done"

    assert await catalog.read(slow) == "done"


async def test_a_caller_that_leaves_is_no_silence() -> None:
    async def nothing() -> None:
        return None

    listener = SilenceWatch(nothing)
    left = asyncio.ensure_future(listener.attempt(lambda: asyncio.sleep(60)))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    listener.silent = True
    with pytest.raises(DatabaseSilent):
        await listener.attempt(nothing)
    await listener.close()
