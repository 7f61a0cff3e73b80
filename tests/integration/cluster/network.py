"""Nodes on machines of their own as far as the network can tell: each in a network namespace, with a cable
that can be cut. Needs root.

A cut loses packets without a word, as a broken switch does; nobody hears that a connection has ended.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.programs import require_program, require_root
from tests.support.server import ENTREPOT, RunningServer, clean_env

NETWORK = "198.18.0.0/15"  # for tests of networks (RFC 2544); nobody routes it


@dataclass
class Cable:
    """Between this machine (`gateway`) and a namespace (`address`)."""

    name: str
    gateway: str
    address: str

    @property
    def inside(self) -> list[str]:
        """What goes before a command to run it at the far end."""
        return [require_program("ip"), "netns", "exec", self.name]

    def cut(self, port: int | None = None) -> None:
        """Lose every packet, or those to and from one port of this machine."""
        of = ["-p", "tcp", "--dport", str(port)] if port else []
        back = ["-p", "tcp", "--sport", str(port)] if port else []
        self._filter("-I", "OUTPUT", "!", "-o", "lo", *of, "-j", "DROP")
        self._filter("-I", "INPUT", "!", "-i", "lo", *back, "-j", "DROP")

    def mend(self) -> None:
        for chain in ("INPUT", "OUTPUT"):
            self._filter("-F", chain)

    def _filter(self, *rule: str) -> None:
        run(*self.inside, require_program("iptables"), "-w", *rule)


def run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{argv}: {done.stderr}")


@contextlib.contextmanager
def cable(number: int) -> Iterator[Cable]:
    """A namespace of this block's own; `number` tells it from others of this process."""
    require_root()
    ip, here = require_program("ip"), f"{os.getpid():x}{number}"
    start = f"198.{18 + os.getpid() // 256 % 2}.{os.getpid() % 256}."  # other runs have others
    made = Cable(f"entrepot-{here}", f"{start}{4 * number + 1}", f"{start}{4 * number + 2}")
    outer, inner = f"eo{here}", f"ei{here}"
    run(ip, "netns", "add", made.name)
    try:
        run(ip, "link", "add", outer, "type", "veth", "peer", "name", inner, "netns", made.name)
        run(ip, "addr", "add", f"{made.gateway}/30", "dev", outer)
        run(ip, "link", "set", outer, "up")
        run(ip, "-n", made.name, "addr", "add", f"{made.address}/30", "dev", inner)
        for device in (inner, "lo"):
            run(ip, "-n", made.name, "link", "set", device, "up")
        yield made
    finally:
        run(ip, "netns", "del", made.name)  # takes the cable along


@dataclass
class DistantNode(RunningServer):
    """A node at the far end of a cable."""

    cable: Cable = field(kw_only=True)

    @property
    def url(self) -> str:
        return f"http://{self.cable.address}:{self.port}"

    def start(self, *, wait: bool = True, prefix: tuple[str, ...] = ()) -> None:
        super().start(wait=wait, prefix=(*self.cable.inside, *prefix))


def distant_node(folder: Path, port: int, cable: Cable, env: dict[str, str]) -> DistantNode:
    """A node that is not started yet; whoever starts it ends it."""
    folder.mkdir(parents=True, exist_ok=True)
    data, listen = folder / "data", f"{cable.address}:{port}"
    argv = [ENTREPOT, "serve", "--data", str(data), "--listen", listen, "--open", "--workers", "1"]
    env = clean_env(**{**env, "ENTREPOT_SERVER_BEHIND_PROXY": cable.gateway})
    return DistantNode(data, port, argv, env, folder / "serve.log", cable=cable)
