"""`entrepot serve` as its own process, for tests that want the real thing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support.ports import free_port
from tests.support.processes import end, tail, wait_until

ENTREPOT = str(Path(sys.executable).parent / "entrepot")


def clean_env(**extra: str) -> dict[str, str]:
    """The environment without settings that would change what a test sees, plus `extra`."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ENTREPOT_", "DOCKER_"))
    }
    # Without compiled modules each start of a command would compile them again.
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        kept.pop(name, None)
    return {**kept, **extra}


@dataclass
class RunningServer:
    """A server on a free port of loopback; `host` is what stands before an image's name."""

    data: Path
    port: int
    argv: list[str]
    env: dict[str, str]
    log: Path
    scheme: str = "http"
    process: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def ip(self) -> str:
        """Where it listens."""
        return str(urlsplit(self.url).hostname).replace("localhost", "127.0.0.1")

    @property
    def host(self) -> str:
        return f"localhost:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://localhost:{self.port}"

    def start(self, *, wait: bool = True, prefix: tuple[str, ...] = ()) -> None:
        """Start it (again) on the same port and data; `prefix` goes before the command, as `strace …`."""
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                [*prefix, *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.env,
                start_new_session=True,
            )
        if wait:
            self.wait_ready()

    def wait_ready(self, *, timeout_s: float = 90.0) -> None:
        """Return when `/readyz` answers 200; raise with the log's tail when the server ends first."""
        process = self.process
        assert process is not None

        def settled() -> bool:
            return process.poll() is not None or self._is_ready()

        try:
            wait_until(settled, what=f"{self.url}/readyz", timeout_s=timeout_s)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{tail(self.log)}") from error
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{tail(self.log)}")

    def _is_ready(self) -> bool:
        import ssl

        trusting = ssl._create_unverified_context()
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=5, context=trusting) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def kill(self) -> None:
        """SIGKILL to every process of the server at once, as a power cut would end them."""
        process = self.process
        assert process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)

    def stop(self) -> int:
        """SIGTERM, wait for the drain, return the exit code."""
        process = self.process
        assert process is not None
        end(process, patience_s=60)
        return process.returncode

    def restart(self) -> None:
        """Stop and start again."""
        self.stop()
        self.start()

    def admin(self, *args: str, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run `entrepot admin ARGS` on this server's data."""
        argv = [ENTREPOT, "admin", "--data", str(self.data), *args]
        done = subprocess.run(argv, env=self.env, capture_output=True, text=True, check=False, timeout=180)
        assert not check or done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done

    def fsck(self) -> dict[str, Any]:
        """What `entrepot admin fsck --json` finds."""
        return dict(json.loads(self.admin("fsck", "--json", check=False).stdout))


@contextlib.contextmanager
def running_server(
    folder: Path,
    *args: str,
    env: Mapping[str, str] | None = None,
    scheme: str = "http",
    workers: int = 2,
    start: bool = True,
) -> Iterator[RunningServer]:
    """A server with its data in `folder/data`, ready when the block starts, gone when it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    port, data = free_port(), folder / "data"
    argv = [ENTREPOT, "serve", "--data", str(data), "--listen", f"127.0.0.1:{port}"]
    argv += ["--workers", str(workers), *args]
    server = RunningServer(data, port, argv, clean_env(**(env or {})), folder / "serve.log", scheme)
    try:
        if start:
            server.start()
        yield server
    finally:
        if server.process is not None:
            end(server.process)
