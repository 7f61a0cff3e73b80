"""A registry with images moves from SQLite and a folder to PostgreSQL and a bucket while docker pulls."""

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.journal import Journal, Pusher
from tests.integration.cluster.nodes import Place, nginx, node_for_later
from tests.support.dockerd import Docker
from tests.support.images import image, push_image
from tests.support.ports import free_port
from tests.support.processes import end, wait_until
from tests.support.server import ENTREPOT, clean_env, running_server
from tests.support.wire import Wire

pytestmark = [pytest.mark.timeout(900), pytest.mark.clients]


class Puller:
    """docker, pulling one image again and again."""

    def __init__(self, docker: Docker, name: str) -> None:
        self._docker, self._name = docker, name
        self.pulls = 0
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set() and not self.failures:
            pulled = self._docker.run("pull", "-q", self._name, check=False)
            if pulled.returncode:
                self.failures.append(pulled.stderr)
            else:
                self.pulls += 1
                self._docker.run("rmi", self._name)

    def __enter__(self) -> "Puller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(300)

    def more(self, count: int = 2) -> None:
        """Wait for further pulls."""
        wanted = self.pulls + count
        wait_until(lambda: self.failures or self.pulls >= wanted, what="docker's pulls", timeout_s=240)
        assert self.failures == []


class Moving:
    """`entrepot admin migrate`, running."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self._log = log
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                argv, env=clean_env(), stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )

    def said(self) -> str:
        return self._log.read_text()

    def ended(self) -> bool:
        return self.process.poll() is not None

    def wait(self) -> int:
        return self.process.wait(180)


@contextlib.contextmanager
def moving(argv: list[str], log: Path) -> Iterator[Moving]:
    command = Moving(argv, log)
    try:
        yield command
    finally:
        end(command.process)


def write_settings(file: Path, place: Place, data: Path) -> None:
    lines = [f"[server]\ndata = '{data}'\n[catalog]\nurl = '{place.catalog}'\n[storage]"]
    storage = {name: value for name, value in place.env.items() if name.startswith("ENTREPOT_STORAGE_")}
    for name, value in storage.items():
        key = name.removeprefix("ENTREPOT_STORAGE_").lower()
        lines.append(f"{key} = {value if value == 'true' else repr(value)}")
    file.write_text("\n".join(lines) + "\n")


def test_docker_pulls_throughout(place: Place, dockerd: Docker, tmp_path: Path) -> None:
    settings, data = tmp_path / "new.toml", tmp_path / "new" / "data"
    write_settings(settings, place, data)
    journal, new_port = Journal(), free_port()
    behind = {"ENTREPOT_SERVER_BEHIND_PROXY": "127.0.0.1"}
    with running_server(tmp_path / "old", workers=1, env=behind) as old:
        pushers = [Pusher(old.port, journal, seed, repository=f"moving/r{seed}") for seed in range(3)]
        for pusher in pushers:
            pusher.push_image()
        push_image(Wire(old.port), "moving/app", "v1", image([{"a": b"x" * 300_000}, {"b": b"y" * 1000}]))
        argv = [ENTREPOT, "admin", "--data", str(old.data), "migrate", "--to", str(settings), "--deep"]
        with (
            nginx(tmp_path / "nginx", [old], later=new_port) as port,
            node_for_later(tmp_path / "new", place, port=new_port) as new,
            Puller(dockerd, f"localhost:{port}/moving/app:v1") as puller,
            moving(argv, tmp_path / "migrate.log") as command,
        ):
            puller.more()
            wait_until(
                lambda: "start the new servers" in command.said() or command.ended(),
                what="the copy",
                timeout_s=180,
            )
            assert not command.ended(), command.said()
            puller.more()
            new.start()
            old.stop()
            assert command.wait() == 0, command.said()
            puller.more()
            assert journal.lost(new.port) == []
            Pusher(port, journal, 9, repository="moving/r9").push_image()
            assert new.fsck()["findings"] == []
        assert puller.failures == []
        old.start(wait=False)
        assert old.process is not None
        assert old.process.wait(120) != 0
        assert "is older than its blobs" in old.log.read_text()
