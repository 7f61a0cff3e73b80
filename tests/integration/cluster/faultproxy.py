"""A proxy before the object store whose faults are switched on and off.

It works on connections: while a fault is on, each request of the store's clients meets it, and connections
that were open before are cut, so that none slips through.
"""

import contextlib
import random
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["503", "reset", "cut", "slow"]
_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>slow down</Message></Error>"
_REFUSAL = (
    b"HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_SLOW_DOWN), _SLOW_DOWN)
)


@dataclass(frozen=True)
class Fault:
    """What happens to the first new connection, and to a share of those after it."""

    kind: Kind
    """`503`: SlowDown; `reset`: closed at once; `cut`: after some bytes of the answer; `slow`: trickles."""
    share: float = 1.0


class StoreProxy:
    """Listens on a port of loopback; `endpoint` is what clients are given."""

    def __init__(self, upstream: str, seed: int = 1) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        # Nodes in other network namespaces use it too.
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=256)
        self.port = self._listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self._fault: Fault | None = None
        self._fresh = False
        self._random = random.Random(seed)
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.met = 0
        """Connections that met a fault."""
        threading.Thread(target=self._accept, daemon=True).start()

    @contextlib.contextmanager
    def having(self, fault: Fault) -> Iterator[None]:
        """The fault is on until the block ends."""
        self._switch(fault)
        try:
            yield
        finally:
            self._switch(None)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._switch(None)

    def _switch(self, fault: Fault | None) -> None:
        with self._lock:
            self._fault, self._fresh = fault, True
            for each in self._open:
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                fault = self._fault
                if fault is not None and not self._fresh and self._random.random() >= fault.share:
                    fault = None
                self._fresh = False
                if fault is not None:
                    self.met += 1
                after = self._random.randrange(20, 4000)
                self._open.add(client)
            threading.Thread(target=self._serve, args=(client, fault, after), daemon=True).start()

    def _serve(self, client: socket.socket, fault: Fault | None, after: int) -> None:
        try:
            with client:
                if fault is not None and fault.kind == "503":
                    client.recv(65536)
                    client.sendall(_REFUSAL)
                    client.shutdown(socket.SHUT_WR)
                    while client.recv(65536):
                        pass
                elif fault is None or fault.kind != "reset":
                    self._relay(client, fault, after)
        except OSError:
            pass
        finally:
            with self._lock:
                self._open.discard(client)

    def _relay(self, client: socket.socket, fault: Fault | None, after: int) -> None:
        with socket.create_connection(self._upstream) as up:
            there = threading.Thread(target=self._pump, args=(client, up, None, 0), daemon=True)
            there.start()
            self._pump(up, client, fault, after)
            for each in (client, up):
                with contextlib.suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            there.join()

    def _pump(self, source: socket.socket, sink: socket.socket, fault: Fault | None, after: int) -> None:
        slow = threading.Event()  # never set: a wait that ends by itself
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if fault is not None and fault.kind == "slow":
                    slow.wait(0.2)
                if fault is not None and fault.kind == "cut":
                    sink.sendall(data[:after])
                    after -= len(data)
                    if after <= 0:
                        return
                else:
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)
