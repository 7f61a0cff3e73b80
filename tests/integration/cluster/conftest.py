from collections.abc import Iterator

import pytest

from tests.integration.cluster.nodes import Place, database


@pytest.fixture(scope="module")
def place(postgresql_port: int, seaweedfs_endpoint: str) -> Iterator[Place]:
    """A place of the module's own on the run's PostgreSQL and object store."""
    with database(postgresql_port) as url:
        yield Place(url, seaweedfs_endpoint)
