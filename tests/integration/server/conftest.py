"""Servers with short deadlines, and raw sockets to try their patience."""

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.raw import Connect
from tests.support.server import RunningServer, running_server


@pytest.fixture(scope="session")
def strict_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One worker, deadlines of a second or two."""
    env = {
        "ENTREPOT_LIMITS_HEADER_TIMEOUT": "1s",
        "ENTREPOT_LIMITS_MIN_BODY_WINDOW": "2s",
        "ENTREPOT_LIMITS_BLOB_BYTES": "32MiB",
    }
    folder: Path = tmp_path_factory.mktemp("strict")
    with running_server(folder, env=env, workers=1) as server:
        yield server


@pytest.fixture
def connect(strict_server: RunningServer) -> Iterator[Connect]:
    """Opens connections to the strict server that are closed when the test ends."""
    with contextlib.ExitStack() as stack:

        def open_connection(sent: bytes = b"", *, timeout_s: float = 60.0) -> socket.socket:
            made = socket.create_connection(("127.0.0.1", strict_server.port), timeout=timeout_s)
            stack.enter_context(made)
            if sent:
                made.sendall(sent)
            return made

        yield open_connection
