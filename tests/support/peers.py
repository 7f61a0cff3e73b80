"""Debian's `docker-registry`: the peer to talk to and to measure against."""

import contextlib
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.support.ports import free_port
from tests.support.processes import started
from tests.support.programs import require_program

_CONFIG = """version: 0.1
log: {{accesslog: {{disabled: {quiet}}}, level: error}}
storage: {{{storage}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
{extra}
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A running docker-registry."""

    port: int
    root: Path
    pid: int

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"http://localhost:{self.port}"


@contextlib.contextmanager
def docker_registry(
    folder: Path,
    *,
    storage: str | None = None,
    extra: str = "",
    prefix: tuple[str, ...] = (),
    port: int | None = None,
    access_log: bool = False,
) -> Iterator[Peer]:
    """A docker-registry that keeps its data in `folder/registry`, or where `storage` (YAML) says.

    With `access_log` its requests are lines of `folder/registry.log`. `extra` is YAML for the top of its
    configuration; `prefix` goes before its command line.
    """
    program = require_program("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    port, root = port or free_port(), folder / "registry"
    root.mkdir(exist_ok=True)
    config = folder / "registry.yml"
    place = storage or f'filesystem: {{rootdirectory: "{root}"}}'
    config.write_text(
        _CONFIG.format(storage=place, port=port, extra=extra, quiet=str(not access_log).lower())
    )

    def ready() -> bool:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2).close()
        except urllib.error.HTTPError as error:
            return error.code == 401
        except OSError:
            return False
        return True

    argv = [*prefix, program, "serve", str(config)]
    with started(argv, log=folder / "registry.log", ready=ready) as process:
        yield Peer(port, root, process.pid)
