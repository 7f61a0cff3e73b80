"""Two real servers for each test process: one as it comes, one that takes sparse manifests."""

from collections.abc import Iterator

import pytest

from tests.support.distribution import NUMBERS, NewRepository, WireRepository
from tests.support.server import running_server
from tests.support.wire import Wire


@pytest.fixture(scope="session")
def registry_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with running_server(tmp_path_factory.mktemp("conformance"), env={"ENTREPOT_LOG_ACCESS": "off"}) as server:
        yield server.port


@pytest.fixture(scope="session")
def sparse_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    env = {"ENTREPOT_LOG_ACCESS": "off", "ENTREPOT_MANIFESTS_SPARSE": "all"}
    with running_server(tmp_path_factory.mktemp("sparse"), env=env, workers=1) as server:
        yield server.port


@pytest.fixture
def new_repository(registry_port: int) -> Iterator[NewRepository]:
    """Makes repositories nobody else uses, all over one connection."""
    wire = Wire(registry_port)
    yield lambda: WireRepository(wire, f"conformance/r{next(NUMBERS)}")
    wire.close()


@pytest.fixture
def repository(new_repository: NewRepository) -> WireRepository:
    return new_repository()


@pytest.fixture
def sparse_repository(sparse_port: int) -> Iterator[WireRepository]:
    wire = Wire(sparse_port)
    yield WireRepository(wire, f"sparse/r{next(NUMBERS)}")
    wire.close()
