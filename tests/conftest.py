"""Fixtures and profiles every test may use."""

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady",
    deadline=None,  # a loaded machine is not a failure
    max_examples=60,
    derandomize=True,  # the same examples in every run: a failure is the code's, never the draw's
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("steady")


@pytest.fixture
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


pytest_plugins = [
    "tests.support.shared",
    "tests.support.postgresql",
    "tests.support.seaweedfs",
    "tests.support.dockerd",
]
