"""Sign-in sources that take connections and never answer: everything else goes on."""

import base64
import json
import socket
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.accounts.conftest import PASSWORD, Registry
from tests.support.wire import Wire


@pytest.fixture
def hung(served: Registry) -> Iterator[Registry]:
    """A registry with a provider and a directory that hang, and a local user."""
    served.user("lola")
    with socket.create_server(("127.0.0.1", 0), backlog=512) as server:
        port = server.getsockname()[1]
        provider = {"issuer": f"http://localhost:{port}", "client_id": "x", "title": "Hung"}
        directory = {"url": f"ldap://127.0.0.1:{port}", "user_base": "dc=example,dc=org"}
        served.api("POST", "/sources", {"name": "idp", "kind": "oidc", "settings": provider, "secret": "s"})
        served.api("POST", "/sources", {"name": "corp", "kind": "ldap", "settings": directory})
        yield served


def ask(registry: Registry, path: str, *, name: str = "", password: str = "") -> tuple[int, str]:
    headers = {}
    if name:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()
    answer = Wire(registry.server.port, headers=headers)("GET", path)
    return answer.status, answer.body.decode()


def test_everything_else_goes_on(hung: Registry) -> None:
    with ThreadPoolExecutor(max_workers=100) as people:
        leaving = [people.submit(ask, hung, "/api/v1/sign-in/idp") for _ in range(60)]
        unknown = [people.submit(ask, hung, "/v2/", name=f"user{n}", password="x") for n in range(25)]
        rounds = 0
        while not all(one.done() for one in (*leaving, *unknown)):
            assert ask(hung, "/v2/", name="lola", password=PASSWORD)[0] == 200
            assert ask(hung, "/readyz")[0] == 200
            assert ask(hung, "/sign-in")[0] == 200
            rounds += 1
            time.sleep(0.05)
        assert rounds > 0
        told = {one.result() for one in leaving}
        assert {status for status, _ in told} == {503}, told
        assert any("does not answer at the moment" in text for _, text in told)
        refused = [one.result() for one in unknown]
        assert {status for status, _ in refused} == {503}
        assert all("known only where nobody answers" in text for _, text in refused)
    # A wrong password of somebody who exists here is told the same.
    status, text = ask(hung, "/v2/", name="lola", password="wrong")
    assert status == 503
    assert "known only where nobody answers" in text
    body = json.dumps({"name": "lola", "password": PASSWORD}).encode()
    request = urllib.request.Request(
        f"{hung.server.url}/api/v1/session", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert answer.status == 200
