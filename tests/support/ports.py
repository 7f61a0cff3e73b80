"""Free TCP ports on loopback.

A port is taken from a range of its own for each test worker and probed by binding, so that two workers
never hand out the same one; the kernel's ephemeral range is left alone, since outgoing connections use it.
"""

import itertools
import os
import socket
from collections.abc import Iterator

_FIRST, _LAST = 12_000, 32_000
_WORKERS = 16


def _worker_number() -> int:
    name = os.environ.get("PYTEST_XDIST_WORKER", "gw15")
    return int(name.removeprefix("gw")) % _WORKERS


def _candidates() -> Iterator[int]:
    width = (_LAST - _FIRST) // _WORKERS
    start = _FIRST + _worker_number() * width
    offset = os.getpid() % width
    ports = list(range(start, start + width))
    return itertools.cycle(ports[offset:] + ports[:offset])


_PORTS = _candidates()


def is_free(port: int) -> bool:
    """Whether nothing listens on `port` of loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port of loopback that nothing listens on; each call gives another."""
    for port in itertools.islice(_PORTS, 5_000):
        if is_free(port):
            return port
    message = "no free port on loopback"
    raise RuntimeError(message)


def wait_for_port(port: int, *, timeout_s: float = 60.0) -> None:
    """Return when something accepts connections on `port`; raise TimeoutError after `timeout_s`."""
    from tests.support.processes import wait_until

    def accepts() -> bool:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            return False
        return True

    wait_until(accepts, what=f"a listener on port {port}", timeout_s=timeout_s)
