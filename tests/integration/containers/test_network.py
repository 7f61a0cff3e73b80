"""A container's own network: out to servers, in through published ports, and gone with the container."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.containers.conftest import Box
from tests.support.ports import free_port
from tests.support.processes import wait_until
from tests.support.programs import require_program

pytestmark = [pytest.mark.clients, pytest.mark.timeout(300)]

PROGRAMS = ("pasta", "slirp4netns")
# The host's own interpreter, in a container that has none.
PYTHON = ("-v", "/usr:/usr:ro", "-e", "LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu:/usr/lib/aarch64-linux-gnu")
PYTHON_PATH = "/usr/bin/python3"
SERVER = """
import socket
server = socket.create_server(("", 80))
print("up", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"from the container")
    connection.close()
"""
UDP_SERVER = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("", 53))
print("up", flush=True)
while True:
    data, sender = server.recvfrom(100)
    server.sendto(data.upper(), sender)
"""
UDP_CLIENT = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.connect((sys.argv[1], int(sys.argv[2])))
    client.settimeout(1)
    for _ in range(20):  # one may be lost
        client.send(b"hello")
        try:
            print(client.recv(100).decode())
            break
        except TimeoutError:
            pass
"""
CLIENT = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as connection:
    print(connection.recv(100).decode())
"""


@pytest.fixture(autouse=True)
def programs_are_there() -> None:
    for name in (*PROGRAMS, "ip"):
        require_program(name)
    if not Path(PYTHON_PATH).exists():
        pytest.skip("there is no python3 in /usr/bin")


@pytest.fixture(params=["box", "plain_box", "mapped_box"])
def anybodys(request: pytest.FixtureRequest) -> Box:
    """As root, as a user with a single id, as one with ranges of ids."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Box)
    return found


def _serve(box: Box, name: str, *words: str, script: str = SERVER) -> None:
    box.run("run", "-d", "--name", name, *words, *PYTHON, "tiny:1", PYTHON_PATH, "-c", script)
    wait_until(lambda: box.output("logs", name) == "up", what="the server in the container")


def _read(port: int, host: str = "127.0.0.1") -> str:
    with socket.create_connection((host, port), timeout=20) as connection:
        return connection.recv(100).decode()


def _helper(box: Box, name: str) -> int:
    """The process that is the container's network."""
    (container,) = json.loads(box.output("inspect", name))
    folder = box.store / "entrepot/containers" / container["Id"]
    return int(json.loads((folder / "network.json").read_text())["pid"])


def _is_alive(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] not in "ZX"


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_published_port_answers_until_the_container_ends(anybodys: Box, program: str) -> None:
    box, port = anybodys, free_port()
    _serve(box, "web", "--network", program, "-p", f"127.0.0.1:{port}:80")
    assert _read(port) == "from the container"
    (document,) = json.loads(box.output("inspect", "web"))
    binding = [{"HostIp": "127.0.0.1", "HostPort": str(port)}]
    assert document["NetworkSettings"]["Ports"] == {"80/tcp": binding}
    assert document["HostConfig"]["PortBindings"] == {"80/tcp": binding}
    assert document["HostConfig"]["NetworkMode"] == program
    assert box.output("ps", "--format", "{{.Ports}}") == f"127.0.0.1:{port}->80/tcp"
    helper = _helper(box, "web")
    assert _is_alive(helper)
    box.run("kill", "web")
    box.run("wait", "web")
    assert not _is_alive(helper)
    assert _can_bind(port)
    (document,) = json.loads(box.output("inspect", "web"))
    assert document["NetworkSettings"]["Ports"] == {}
    box.run("start", "web")
    wait_until(lambda: box.output("logs", "web") == "up\nup", what="the server in the container")
    assert _read(port) == "from the container"


def test_free_ports_are_chosen_for_noted_ones(box: Box) -> None:
    _serve(box, "web", "-P", "--expose", "80")
    (document,) = json.loads(box.output("inspect", "web"))
    (binding,) = document["NetworkSettings"]["Ports"]["80/tcp"]
    assert _read(int(binding["HostPort"])) == "from the container"


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_port_in_use_is_told_and_nothing_is_left(anybodys: Box, program: str) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        failed = anybodys.run(
            "run", "-d", "--name", "late", "--network", program, "-p", f"127.0.0.1:{port}:80", "tiny:1",
            "true", code=125,
        )  # fmt: skip
    assert f"listen tcp 127.0.0.1:{port}: bind: address already in use" in failed.stderr
    assert "publish another port" in failed.stderr
    (document,) = json.loads(anybodys.output("inspect", "late"))
    assert document["State"]["Status"] == "created"
    assert anybodys.run("start", "late").stdout == "late\n"


def test_a_port_that_two_want_at_once_is_told(box: Box) -> None:
    port = free_port()
    for program in PROGRAMS:
        ports = ("-p", f"127.0.0.1:{port}:80", "-p", f"127.0.0.1:{port}:81")
        box.run("run", "--rm", "--network", program, *ports, "tiny:1", "true", code=125)
    assert _can_bind(port)


def test_the_network_of_a_killed_monitor_is_ended_by_the_next_command(anybodys: Box) -> None:
    box, port = anybodys, free_port()
    _serve(box, "web", "-p", f"127.0.0.1:{port}:80")
    (document,) = json.loads(box.output("inspect", "web"))
    state = json.loads((box.store / "entrepot/containers" / document["Id"] / "state.json").read_text())
    helper = _helper(box, "web")
    os.kill(_on_this_machine(state["monitor_pid"]), signal.SIGKILL)
    wait_until(lambda: not _is_alive(state["monitor_pid"]), what="the monitor's end")
    assert box.output("ps", "-a", "--format", "{{.State}} {{.Ports}}") == "exited "
    assert not _is_alive(helper)
    assert _can_bind(port)


def _on_this_machine(pid: int) -> int:
    """Process ids are the host's also without root: no process namespace is made for the monitor."""
    assert _is_alive(pid)
    return pid


def test_a_failed_start_leaves_no_network(box: Box) -> None:
    port = free_port()
    box.run("run", "--name", "odd", "-p", f"127.0.0.1:{port}:80", "tiny:1", "/no/such/program", code=127)
    assert _can_bind(port)
    assert not list((box.store / "entrepot/containers").glob("*/network.json"))


def test_the_hosts_loopback_cannot_be_reached(box: Box) -> None:
    with socket.create_server(("127.0.0.1", free_port())) as server:
        port = str(server.getsockname()[1])
        for program in PROGRAMS:
            for address in ("127.0.0.1", "10.0.2.2"):
                words = ("--network", program, *PYTHON, "tiny:1", PYTHON_PATH, "-c", CLIENT, address, port)
                assert box.run("run", "--rm", *words, code=1).stdout == ""


SETUP = """
ip link set lo up
ip addr add 203.0.113.7/32 dev lo
ip link add outside type veth peer name far
ip addr add 198.51.100.2/24 dev outside
ip link set outside up
ip link set far up
ip route add default via 198.51.100.1
echo ready
exec sleep 600
"""
GREETER = """
import socket
server = socket.create_server(("203.0.113.7", 8000))
print("up", flush=True)
while True:
    connection, _ = server.accept()
    connection.sendall(b"from outside")
    connection.close()
"""


@pytest.fixture
def outside() -> Iterator[int]:
    """A process in a network of the test's own, with a server on 203.0.113.7:8000 and a default route."""
    holder = subprocess.Popen(
        ["unshare", "--net", "sh", "-e", "-c", SETUP],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert holder.stdout is not None
    try:
        said = holder.stdout.readline()
        if said != "ready\n":
            pytest.skip(f"no network namespace with a route can be made here: {said}")
        enter = ["nsenter", "--target", str(holder.pid), "--net"]
        server = subprocess.Popen([*enter, sys.executable, "-c", GREETER], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "up\n"
            yield holder.pid
        finally:
            server.kill()
            server.communicate()
    finally:
        holder.kill()
        holder.communicate()


class _BoxElsewhere(Box):
    """Commands in another network namespace."""

    network_of = 0

    def argv(self, *words: str | Path) -> list[str]:
        return ["nsenter", "--target", str(self.network_of), "--net", *super().argv(*words)]


def _moved(box: Box, network_of: int) -> Box:
    fields = {field.name: getattr(box, field.name) for field in dataclasses.fields(box)}
    moved = _BoxElsewhere(**fields)
    object.__setattr__(moved, "network_of", network_of)
    return moved


@pytest.mark.parametrize("program", PROGRAMS)
def test_datagrams_are_published_on_addresses_that_are_not_loopback(
    box: Box, outside: int, program: str
) -> None:
    _serve(
        _moved(box, outside),
        "names",
        "--network",
        program,
        "-p",
        "198.51.100.2:5300:53/udp",
        script=UDP_SERVER,
    )
    enter = ["nsenter", "--target", str(outside), "--net"]
    argv = [*enter, sys.executable, "-c", UDP_CLIENT, "198.51.100.2", "5300"]
    assert subprocess.run(argv, capture_output=True, text=True, check=True).stdout == "HELLO\n"


@pytest.mark.parametrize("program", PROGRAMS)
def test_connections_go_out(anybodys: Box, outside: int, program: str) -> None:
    box = _moved(anybodys, outside)
    words = (*PYTHON, "tiny:1", PYTHON_PATH, "-c", CLIENT, "203.0.113.7", "8000")
    assert box.output("run", "--rm", "--network", program, *words) == "from outside"


def test_names_and_resolvers_are_in_the_containers_files(box: Box) -> None:
    said = box.output(
        "run", "--rm", "-h", "web", "--add-host", "db:192.0.2.9", "--dns", "192.0.2.53",
        "--dns-search", "a.test", "tiny:1", "cat", "/etc/hosts", "/etc/resolv.conf", "/etc/hostname",
    )  # fmt: skip
    assert "192.0.2.9\tdb\n10.0.2.100\tweb\nnameserver 192.0.2.53\nsearch a.test\n" in said
    assert said.endswith("\nweb")


def test_none_has_loopback_only(box: Box) -> None:
    assert box.output("run", "--rm", "--network", "none", "tiny:1", "cat", "/proc/net/route").count("\n") == 0
    warned = box.run("run", "--rm", "--network", "none", "-p", "80", "tiny:1", "true")
    assert "Published ports are discarded when using none network mode" in warned.stderr
