"""A real docker daemon: one a test run, with folders and a socket of its own, no bridge and no iptables."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import require_program, require_root
from tests.support.shared import shared_server


@dataclass(frozen=True, slots=True)
class Docker:
    """A docker client bound to the run's daemon; `config` is the client's folder of settings."""

    socket: Path
    config: Path
    program: str = "docker"
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        """An environment in which `docker` talks to the run's daemon."""
        own = {"DOCKER_HOST": f"unix://{self.socket}", "DOCKER_CONFIG": str(self.config)}
        return {**os.environ, **own, "DOCKER_CONTENT_TRUST": "0", **self.extra}

    def run(
        self, *args: str, check: bool = True, stdin: bytes | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run `docker ARGS`; with `check`, a failure raises AssertionError with what docker said."""
        argv: Sequence[str] = [require_program(self.program), *args]
        done = subprocess.run(argv, env=self.env, input=stdin, capture_output=True, check=False, timeout=300)
        result = subprocess.CompletedProcess(
            done.args,
            done.returncode,
            done.stdout.decode(errors="replace"),
            done.stderr.decode(errors="replace"),
        )
        assert not check or result.returncode == 0, f"{argv}: {result.stdout}{result.stderr}"
        return result


def command(folder: Path) -> list[str]:
    """The command line of a daemon that keeps all in `folder` and touches no network set-up."""
    return [
        require_program("dockerd"),
        f"--data-root={folder / 'data'}",
        f"--exec-root={folder / 'exec'}",
        f"--pidfile={folder / 'pid'}",
        f"--host=unix://{folder / 'docker.sock'}",
        "--iptables=false",
        "--ip6tables=false",
        "--bridge=none",
        "--ip-forward=false",
        "--live-restore=false",
    ]


def answers(socket: Path) -> bool:
    """Whether the daemon behind `socket` answers."""
    argv = [require_program("docker"), "version", "--format", "{{.Server.Version}}"]
    env = {**os.environ, "DOCKER_HOST": f"unix://{socket}"}
    return subprocess.run(argv, env=env, capture_output=True, check=False, timeout=60).returncode == 0


def _start(folder: Path) -> tuple[Sequence[str], dict[str, Any], Any]:
    require_program("dockerd")
    socket = folder / "docker.sock"
    return command(folder), {"socket": str(socket)}, lambda: socket.exists() and answers(socket)


@pytest.fixture(scope="session")
def dockerd_socket() -> Path:
    """The socket of the run's docker daemon."""
    require_root()
    return Path(shared_server("dockerd", _start)["socket"])


@pytest.fixture
def dockerd(dockerd_socket: Path, tmp_path: Path) -> Docker:
    """A docker client of this test's own; images in the daemon are shared, so name them apart."""
    config = tmp_path / "docker-config"
    config.mkdir()
    return Docker(dockerd_socket, config)
