"""A registry of our own that stands in for Docker Hub, and the tool as a user starts it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.server import RunningServer, running_server
from tests.support.tool import Tool


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One registry for the tests of a file."""
    with running_server(tmp_path_factory.mktemp("hub"), workers=1) as server:
        yield server


@pytest.fixture
def tool(tmp_path: Path, hub: RunningServer) -> Tool:
    """The tool with an empty store, the registry above being its Docker Hub."""
    return Tool(tmp_path / "home", hub.host)
