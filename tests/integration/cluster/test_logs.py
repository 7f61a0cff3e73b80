"""S: what proxies and the registry write down of a request is nothing that lets anybody in."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.server.access.secrets.secret import new_secret
from tests.integration.cluster.nodes import haproxy, nginx
from tests.support.processes import wait_until
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

pytestmark = pytest.mark.timeout(120)

SECRET = str(new_secret("set").text)
LINKS = (f"/setup?token={SECRET}", f"/api/v1/sign-in/corp/callback?code={SECRET}&state={SECRET}")
MADE_UP = f"/sign-in?next=%2Fsetup%3Ftoken%3D{SECRET}"
REFERER = {"Referer": f"https://registry.example.org/setup?token={SECRET}"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One with accounts, whose access log is a file beside its data."""
    folder = tmp_path_factory.mktemp("node")
    env = {
        "ENTREPOT_ACCESS_MODE": "accounts",
        "ENTREPOT_LOG_ACCESS": str(folder / "access.log"),
        "ENTREPOT_SERVER_BEHIND_PROXY": "127.0.0.1",
    }
    with running_server(folder, env=env, workers=1) as server:
        yield server


def ask(port: int, *addresses: str) -> None:
    """And then what somebody's browser asks for who came from there."""
    wire = Wire(port)
    for address in addresses:
        wire("GET", address)
    wire("GET", "/v2/", headers=REFERER)
    wire.close()


def check(log: Path, *addresses: str) -> None:
    """It has every request, with its path, and no secret."""
    paths = [f"GET {address.partition('?')[0]}" for address in (*addresses, "/v2/")]
    wait_until(lambda: all(path in log.read_text() for path in paths), what=f"the requests in {log}")
    assert SECRET not in log.read_text()


@pytest.mark.parametrize("balancer", ["haproxy", "nginx"])
def test_access_logs_have_no_secret(node: RunningServer, tmp_path: Path, balancer: str) -> None:
    asked = (*LINKS, MADE_UP)
    if balancer == "haproxy":
        with haproxy(tmp_path, [node]) as made:
            ask(made.port, *asked)
            check(tmp_path / "log", *asked)
    else:
        with nginx(tmp_path, [node]) as port:
            ask(port, *asked)
            check(tmp_path / "access.log", *asked)
    own = node.data.parent / "access.log"
    wait_until(lambda: '"path":"/v2/"' in own.read_text(), what="the last request in the node's own log")
    assert '"path":"/setup"' in own.read_text()
    assert SECRET not in own.read_text() + node.log.read_text()


def test_nginx_keeps_links_out_of_its_error_log(tmp_path: Path) -> None:
    """Of a request whose node is down it writes the whole address there, and where that was found."""
    with running_server(tmp_path / "node", start=False) as down, nginx(tmp_path, [down]) as port:
        wire = Wire(port)
        for address in (*LINKS, "/v2/"):
            assert wire("GET", address).status == 502
        log = tmp_path / "error.log"
        wait_until(lambda: '"GET /v2/ HTTP' in log.read_text(), what="the failure in nginx's log")
        assert "connect() failed" in log.read_text()
        assert SECRET not in log.read_text()
