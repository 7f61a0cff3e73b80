"""The processes of `entrepot serve`: replaced when they die, drained when they stop, one server per data."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.support.distribution import WireRepository, digest
from tests.support.ports import free_port
from tests.support.processes import wait_until
from tests.support.raw import read_answer
from tests.support.server import ENTREPOT, RunningServer, clean_env, running_server
from tests.support.wire import Wire

BIG = bytes(range(256)) * 4096 * 8  # 8 MiB


def children(server: RunningServer) -> list[int]:
    assert server.process is not None
    pid = server.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_dead_processes_are_replaced(tmp_path: Path) -> None:
    """Workers and the jobs process, again and again; the port never closes."""
    with running_server(tmp_path) as server:
        wire = Wire(server.port)
        raw = WireRepository(wire, "a/b").put_image("t")
        wire.close()
        wait_until(lambda: "docker push" in server.log.read_text(), what="the start to be told")
        for _ in range(3):
            before = children(server)
            assert len(before) == 3
            for pid in before:
                os.kill(pid, signal.SIGKILL)
            wait_until(
                lambda before=before: len(set(children(server)) - set(before)) == 3,  # type: ignore[misc]
                what="three new processes",
            )
            again = Wire(server.port)
            assert again("GET", "/v2/a/b/manifests/t").body == raw
            again.close()
        assert server.process is not None
        assert server.process.poll() is None
        assert server.stop() == 0


def test_downloads_and_uploads_finish_before_the_end(tmp_path: Path) -> None:
    """C8: SIGTERM lets what is in flight finish; an upload goes on with the next server."""
    with running_server(tmp_path, env={"ENTREPOT_SERVER_DRAIN_TIMEOUT": "60s"}) as server:
        wire = Wire(server.port)
        repository = WireRepository(wire, "drain/me")
        blob = repository.push(BIG)
        location = repository.begin()
        repository("PATCH", location, body=b"first half, ")
        wire.close()
        downloads = [_begin_download(server.port, blob) for _ in range(6)]
        ended = threading.Event()

        def stop() -> None:
            server.stop()
            ended.set()

        stopping = threading.Thread(target=stop)
        stopping.start()
        wait_until(lambda: _refuses_connections(server.port), what="the listeners to close")
        for connection in downloads:
            answer = read_answer(connection)
            connection.close()
            assert (answer.status, digest(answer.body)) == (200, blob)
        stopping.join(60)
        assert ended.is_set()
        assert server.process is not None
        assert server.process.returncode == 0
        server.start()
        wire = Wire(server.port)
        repository = WireRepository(wire, "drain/me")
        assert repository("GET", location).headers["range"] == "0-11"
        whole = b"first half, second half"
        done = repository("PUT", f"{location}?digest={digest(whole)}", body=b"second half")
        assert done.status == 201
        wire.close()


def _begin_download(port: int, blob: str) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=60)
    connection.sendall(b"GET /v2/drain/me/blobs/%b HTTP/1.1\r\nHost: localhost\r\n\r\n" % blob.encode())
    assert connection.recv(1, socket.MSG_PEEK) == b"H"
    return connection


def _refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except OSError:
        return True
    return False


def test_a_stop_while_workers_start_leaves_no_caller_waiting(tmp_path: Path) -> None:
    """SIGTERM as soon as one worker answers: the others, still starting, drain as well and nobody hangs."""
    env = {"ENTREPOT_SERVER_DRAIN_DELAY": "1h"}
    with running_server(tmp_path, env=env, workers=3, start=False) as server:
        server.start()
        assert server.process is not None
        server.process.send_signal(signal.SIGTERM)
        for _ in range(12):
            wait_until(
                lambda: Wire(server.port)("GET", "/readyz").status == 503, what="every worker to drain"
            )
        log = server.log.read_text()
    assert "SIGUSR1" not in log


def test_a_stop_while_the_catalog_is_opened_is_no_failure(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the group, the one that opens the catalog too."""
    with running_server(tmp_path, start=False) as server:
        server.start(wait=False)
        wait_until((server.data / "serve.lock").exists, what="the data directory to be taken")
        assert server.process is not None
        os.killpg(server.process.pid, signal.SIGTERM)
        # The very first moment still belongs to the signal itself.
        assert server.process.wait(60) in (0, -signal.SIGTERM)
    assert "Error" not in server.log.read_text()


def test_readiness_ends_before_service_does(tmp_path: Path) -> None:
    """SIGTERM: /readyz says 503 at once, requests are answered until drain_delay is over."""
    with running_server(tmp_path, env={"ENTREPOT_SERVER_DRAIN_DELAY": "1h"}) as server:
        assert server.process is not None
        assert Wire(server.port)("GET", "/readyz").status == 200
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: Wire(server.port)("GET", "/readyz").status == 503, what="/readyz to say 503")
        assert Wire(server.port)("GET", "/healthz").status == 200
        assert Wire(server.port)("GET", "/v2/").status == 200
        server.process.send_signal(signal.SIGTERM)  # the second one does not wait
        assert server.process.wait(60) == 0


def test_workers_end_with_their_supervisor(tmp_path: Path) -> None:
    """A supervisor killed alone leaves nobody behind, and the next one starts on the same port."""
    with running_server(tmp_path) as server:
        wait_until(lambda: len(children(server)) == 3, what="all processes")
        orphans = children(server)
        assert server.process is not None
        server.process.kill()
        server.process.wait(30)
        wait_until(lambda: not any(_runs(pid) for pid in orphans), what="the workers to end")
        server.start()


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False


def test_one_server_for_one_data_directory(tmp_path: Path) -> None:
    """A second server on the same data, or on the same port, says why it does not start."""
    with running_server(tmp_path) as server:
        same_data = _serve("--data", str(server.data), "--listen", f"127.0.0.1:{free_port()}")
        assert same_data.returncode == 1
        assert "another entrepot serve" in same_data.stderr
        same_port = _serve("--data", str(tmp_path / "other"), "--listen", f"127.0.0.1:{server.port}")
        assert same_port.returncode == 1
        assert "address already in use" in same_port.stderr
        assert Wire(server.port)("GET", "/v2/").status == 200


def _serve(*args: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [ENTREPOT, "serve", *args],
        env=clean_env(**env),
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


@pytest.mark.parametrize(
    ("args", "env", "said"),
    [
        (("--listen", "0.0.0.0:0"), {}, "listens on loopback only"),
        (
            ("--listen", "0.0.0.0:0"),
            {"ENTREPOT_ACCESS_MODE": "accounts"},
            "passwords would cross the network",
        ),
        (("--listen", "nowhere"), {}, "not an address"),
        (("--tls-cert", "/none.pem"), {}, "belong together"),
        (("--tls-cert", "/none.pem", "--tls-key", "/none.pem"), {}, "no such file"),
        ((), {"ENTREPOT_LIMITS_MANIFEST_BYTES": "lots"}, "ENTREPOT_LIMITS_MANIFEST_BYTES is 'lots'"),
        (("--config", "/none.toml"), {}, "/none.toml: no such file"),
        (("--data", "/proc/nowhere"), {}, "cannot be used"),
    ],
)
def test_what_cannot_start_says_why(
    tmp_path: Path, args: tuple[str, ...], env: dict[str, str], said: str
) -> None:
    """One line, what to do, exit code 1, no trace."""
    data = () if "--data" in args else ("--data", str(tmp_path / "data"))
    result = _serve(*data, *args, **env)
    assert result.returncode == 1
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_start_tells_what_it_serves(tmp_path: Path) -> None:
    """What, where the data is, and a command to try."""
    with running_server(tmp_path) as server:
        wait_until(lambda: "docker push" in server.log.read_text(), what="the start to be told")
        said = server.log.read_text()
        assert f"http://localhost:{server.port}" in said
        assert str(server.data) in said
        assert f"docker push localhost:{server.port}/" in said
        assert (server.data.stat().st_mode & 0o777) == 0o700


def test_processes_that_hang_are_replaced(tmp_path: Path) -> None:
    """C9: their event loops stand still, and nothing ends them but the supervisor; requests go on."""
    with running_server(tmp_path, env={"ENTREPOT_SERVER_HANG_TIMEOUT": "5s"}) as server:
        wait_until(lambda: "docker push" in server.log.read_text(), what="the start to be told")
        wire = Wire(server.port)
        raw = WireRepository(wire, "a/b").put_image("t")
        wait_until(
            lambda: b"entrepot_part_up" in wire("GET", "/metrics").body, what="the jobs process to work"
        )
        wire.close()
        before = children(server)
        worker, healthy, jobs = before
        for hung in (worker, jobs):
            os.kill(hung, signal.SIGSTOP)
        answers: list[bytes] = []

        def ask() -> None:
            again = Wire(server.port)
            answers.append(again("GET", "/v2/a/b/manifests/t").body)
            again.close()

        asking = [threading.Thread(target=ask) for _ in range(8)]
        for thread in asking:
            thread.start()
        wait_until(
            lambda: set(before) & set(children(server)) == {healthy} and len(children(server)) == 3,
            what="the hung processes to be replaced",
            timeout_s=60,
        )
        for thread in asking:
            thread.join(60)
        assert answers == [raw] * 8  # whoever waited for the hung worker got its successor
        assert healthy in children(server)
        told = [
            line for line in server.log.read_text().splitlines() if "does not answer and is killed" in line
        ]
        assert {pid for pid in before for line in told if re.search(rf"\b{pid}\b", line)} == {worker, jobs}


def test_a_server_that_was_stopped_as_a_whole_goes_on_with_the_same_processes(tmp_path: Path) -> None:
    """Ctrl-Z and fg, a suspended machine, a frozen container: nobody hangs, everybody slept."""
    with running_server(tmp_path, env={"ENTREPOT_SERVER_HANG_TIMEOUT": "5s"}) as server:
        wait_until(lambda: "docker push" in server.log.read_text(), what="the start to be told")
        assert server.process is not None
        before = children(server)
        stopped_at = time.monotonic()
        os.killpg(server.process.pid, signal.SIGSTOP)
        wait_until(
            lambda: time.monotonic() - stopped_at > 7, what="longer than a process may hang", timeout_s=30
        )
        os.kill(server.process.pid, signal.SIGCONT)  # the supervisor wakes first
        for pid in before:
            os.kill(pid, signal.SIGCONT)
        wire = Wire(server.port)
        for _ in range(5):
            assert wire("GET", "/v2/").status == 200
        wire.close()
        assert children(server) == before
        assert "is killed" not in server.log.read_text()
