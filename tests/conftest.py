"""Fixtures and profiles every test may use."""

import signal

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

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell that runs tests in the background has them ignore Ctrl-C; what they start must not inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)


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
