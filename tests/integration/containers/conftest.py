"""Containers of the installed program, in a store of the test's own; whatever a test starts is ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.plain_user import argv_as
from tests.support.programs import require_program, require_root
from tests.support.server import ENTREPOT, clean_env
from tests.support.tiny_root import make_tiny_root

TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Box:
    """`entrepot` with a store that has the image `tiny:1`."""

    store: Path
    home: Path
    tiny_tar: Path
    user: str | None = None
    """Whom it runs as; None is whoever runs the tests."""
    subordinate_ids: bool = False
    """That user has ranges in /etc/subuid and /etc/subgid."""

    @property
    def env(self) -> dict[str, str]:
        return clean_env(ENTREPOT_STORE=str(self.store), HOME=str(self.home), TZ="UTC",
                         DOCKER_CONFIG=str(self.home / ".docker"))  # fmt: skip

    def argv(self, *words: str | Path) -> list[str]:
        """A command line of the program."""
        line = [sys.executable, ENTREPOT, *map(str, words)]
        if self.user is None:
            return line
        return argv_as(self.user, line, subordinate_ids=self.subordinate_ids)

    def run(
        self,
        *argv: str | Path,
        code: int | None = 0,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; it has to leave with `code`, or anyhow when that is None."""
        done = subprocess.run(
            self.argv(*argv),
            input=stdin,
            capture_output=True,
            env={**self.env, **(env or {})},
            cwd=self.home,
            check=False,
            timeout=TIMEOUT_S,
        )
        out, err = done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
        assert code is None or done.returncode == code, f"{argv} left with {done.returncode}: {out}{err}"
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def output(self, *argv: str | Path, **options: object) -> str:
        """What a command prints, without the last newline."""
        return self.run(*argv, **options).stdout.rstrip("\n")  # type: ignore[arg-type]

    def clean(self) -> None:
        """End and remove every container."""
        folder = self.store / "entrepot/containers"
        ids = [path.name for path in folder.iterdir() if len(path.name) == 64] if folder.is_dir() else []
        if ids:
            self.run("rm", "-f", "-v", *ids, code=None)

    def mounts(self) -> list[str]:
        """Mounts below the store."""
        return [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.store) in line]


@pytest.fixture(scope="session")
def tiny_tar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root file system in a tar."""
    require_root()
    return make_tiny_root(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def base_store(tmp_path_factory: pytest.TempPathFactory, tiny_tar: Path) -> Path:
    """A store with `tiny:1`, to copy."""
    folder = tmp_path_factory.mktemp("base")
    box = Box(folder / "store", folder, tiny_tar)
    box.run("import", "-c", 'CMD ["sh"]', "-c", "ENV FROM=image", tiny_tar, "tiny:1")
    return box.store


@pytest.fixture
def box(base_store: Path, tiny_tar: Path, tmp_path: Path) -> Iterator[Box]:
    """A store of this test's own."""
    require_root()
    require_program("runc")
    shutil.copytree(base_store, tmp_path / "store")
    found = Box(tmp_path / "store", tmp_path, tiny_tar)
    try:
        yield found
    finally:
        found.clean()
    assert found.mounts() == []


PLAIN_USER = "nobody"


@pytest.fixture
def plain_box(base_store: Path, tiny_tar: Path) -> Iterator[Box]:
    """The same for a user who is not root."""
    with _box_of_plain_user(base_store, tiny_tar, subordinate_ids=False) as found:
        yield found


@pytest.fixture
def mapped_box(base_store: Path, tiny_tar: Path) -> Iterator[Box]:
    """The same for a user who has ranges in /etc/subuid and /etc/subgid."""
    require_program("newuidmap")
    with _box_of_plain_user(base_store, tiny_tar, subordinate_ids=True) as found:
        yield found


@contextlib.contextmanager
def _box_of_plain_user(base_store: Path, tiny_tar: Path, *, subordinate_ids: bool) -> Iterator[Box]:
    require_root()
    require_program("runc")
    home = Path("/var/tmp") / f"entrepot-plain-{os.getpid()}"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o755)
    shutil.copytree(base_store, home / "store")
    subprocess.run(["chown", "-R", f"{PLAIN_USER}:", home], check=True)
    found = Box(home / "store", home, tiny_tar, PLAIN_USER, subordinate_ids)
    try:
        yield found
    finally:
        found.clean()
        shutil.rmtree(home, ignore_errors=True)


Podman = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def podman() -> Iterator[Podman]:
    """podman with storage of its own, in a folder with a short name: it refuses long run roots."""
    require_root()
    program = require_program("podman")
    folder = Path(tempfile.mkdtemp(prefix="ep-"))
    env = clean_env(HOME=str(folder), XDG_RUNTIME_DIR=str(folder))
    argv = [program, f"--root={folder}/root", f"--runroot={folder}/run", f"--tmpdir={folder}/tmp"]
    argv += ["--storage-driver=vfs", "--cgroup-manager=cgroupfs", "--events-backend=file", "--runtime=runc"]

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*argv, *map(str, words)], env=env, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )

    try:
        yield run
    finally:
        run("rm", "-af")
        shutil.rmtree(folder, ignore_errors=True)
