"""An htpasswd file beside a running registry: what an entry's change means for who is signed in."""

import http.cookiejar
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import bcrypt
import pytest

from tests.integration.accounts.conftest import PASSWORD, Registry
from tests.integration.accounts.setup import setup_token
from tests.support.server import running_server
from tests.support.wire import Wire

SCOPE = "repository:acme/app:pull"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@dataclass
class File:
    registry: Registry
    path: Path
    lines: dict[str, str]

    def change(self, **passwords: str | None) -> None:
        """Set or remove lines, as `htpasswd` does it: another file in its place."""
        for name, password in passwords.items():
            if password is None:
                del self.lines[name]
            else:
                self.lines[name] = bcrypt.hashpw(password.encode(), bcrypt.gensalt(rounds=4)).decode()
                self.registry.secrets[name] = password
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{name}:{digest}\n" for name, digest in self.lines.items()))
        new.replace(self.path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[File]:
    """A registry of two workers whose users are in a file."""
    folder = tmp_path_factory.mktemp("htpasswd")
    with running_server(folder, env={"ENTREPOT_ACCESS_MODE": "accounts"}, workers=2) as server:
        registry = Registry(server, folder)
        token = setup_token(server.log)
        registry.api("POST", "/setup", {"token": token, "password": PASSWORD}, who=None)
        registry.secrets["admin"] = PASSWORD
        made = File(registry, folder / "htpasswd", {})
        made.change(hanna="first password", otto="otto's password", paula="paula's password")
        source = {"name": "file", "kind": "htpasswd", "settings": {"path": str(made.path)}}
        registry.api("POST", "/sources", source)
        server.restart()  # so that every worker has read the sources
        yield made


@dataclass
class Login:
    """What signing in once brought."""

    registry: Registry
    bearer: str
    refresh: str
    cookies: http.cookiejar.CookieJar

    @classmethod
    def of(cls, registry: Registry, name: str) -> "Login":
        query = urlencode({"service": "x", "scope": SCOPE, "offline_token": "true", "client_id": "t"})
        answer = registry.wire(name)("GET", f"/token?{query}")
        assert answer.status == 200, answer
        cookies = http.cookiejar.CookieJar()
        body = json.dumps({"name": name, "password": registry.secrets[name]}).encode()
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
        url = f"{registry.server.url}/api/v1/session"
        opener.open(
            urllib.request.Request(url, body, {"Content-Type": "application/json"}), timeout=60
        ).close()
        return cls(registry, answer.json()["token"], answer.json()["refresh_token"], cookies)

    def statuses(self) -> set[tuple[int, int, int]]:
        """Of bearer, refresh token and session; asked often, so that every worker answers."""
        found = set()
        for _ in range(8):
            bearer = Wire(self.registry.server.port, headers={"Authorization": f"Bearer {self.bearer}"})
            form = {"grant_type": "refresh_token", "refresh_token": self.refresh, "scope": SCOPE}
            refreshed = Wire(self.registry.server.port)("POST", "/token", body=urlencode(form), headers=FORM)
            opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))
            try:
                session = opener.open(f"{self.registry.server.url}/api/v1/self", timeout=60).status
            except urllib.error.HTTPError as error:
                session = error.code
            found.add((bearer("GET", "/v2/").status, refreshed.status, session))
        return found


GOOD, REFUSED = {(200, 200, 200)}, {(401, 401, 401)}


def test_a_changed_or_removed_line_ends_what_was_made_with_it(file: File) -> None:
    registry = file.registry
    hanna, otto = Login.of(registry, "hanna"), Login.of(registry, "otto")
    assert hanna.statuses() == otto.statuses() == GOOD
    file.change(hanna="second password")
    assert hanna.statuses() == REFUSED
    assert otto.statuses() == GOOD
    again = Login.of(registry, "hanna")
    assert again.statuses() == GOOD
    file.change(hanna=None)
    assert again.statuses() == REFUSED
    assert registry.wire("hanna")("GET", "/v2/").status == 401
    assert otto.statuses() == GOOD


def test_a_disabled_source_signs_its_users_out(file: File) -> None:
    paula = Login.of(file.registry, "paula")
    assert paula.statuses() == GOOD
    file.registry.server.admin("source", "disable", "file")
    assert paula.statuses() == REFUSED
