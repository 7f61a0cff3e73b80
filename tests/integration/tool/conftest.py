"""A registry of our own that stands in for Docker Hub, and the tool as a user starts it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.server import ENTREPOT, RunningServer, clean_env, running_server


@dataclass
class Tool:
    """`entrepot` with a home directory of its own."""

    home: Path
    hub: str
    """`host:port` of what is spoken to for Docker Hub."""
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        settings = self.home / ".config" / "entrepot"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "registries.toml").write_text(f'default-registry = "http://{self.hub}"\n')
        self.env = clean_env(
            HOME=str(self.home),
            XDG_CONFIG_HOME=str(self.home / ".config"),
            XDG_DATA_HOME=str(self.home / ".local" / "share"),
            DOCKER_CONFIG=str(self.home / ".docker"),
            TZ="UTC",
        )

    @property
    def store(self) -> Path:
        return self.home / ".local" / "share" / "entrepot"

    def run(
        self, *argv: str | Path, stdin: bytes = b"", code: int = 0, env: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[bytes]":
        """Run a command to its end; it has to leave with `code`."""
        done = subprocess.run(
            [ENTREPOT, *map(str, argv)],
            input=stdin,
            capture_output=True,
            env={**self.env, **(env or {})},
            cwd=self.home,
            check=False,
            timeout=150,
        )
        assert done.returncode == code, f"{argv}: {done.returncode}\n{done.stdout!r}\n{done.stderr!r}"
        assert b"Traceback" not in done.stderr
        return done

    def out(self, *argv: str | Path, stdin: bytes = b"") -> str:
        """What a command that succeeds prints on stdout; it prints nothing on stderr."""
        done = self.run(*argv, stdin=stdin)
        assert done.stderr == b""
        return done.stdout.decode()

    def err(self, *argv: str | Path, code: int = 1) -> str:
        """What a command that fails prints on stderr."""
        return self.run(*argv, code=code).stderr.decode()

    def start(self, *argv: str | Path) -> "subprocess.Popen[bytes]":
        """Start a command and go on."""
        return subprocess.Popen(
            [ENTREPOT, *map(str, argv)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.env,
            cwd=self.home,
        )


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One registry for the tests of a file."""
    with running_server(tmp_path_factory.mktemp("hub"), workers=1) as server:
        yield server


@pytest.fixture
def tool(tmp_path: Path, hub: RunningServer) -> Tool:
    """The tool with an empty store, the registry above being its Docker Hub."""
    return Tool(tmp_path / "home", hub.host)


PYTHON = sys.executable
IS_ROOT = os.geteuid() == 0
