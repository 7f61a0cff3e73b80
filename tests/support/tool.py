"""The installed command as a user starts it, with a home directory of its own."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server import ENTREPOT, clean_env


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
