"""A served registry with accounts, set up as a person does it: with the link that the first start prints."""

import base64
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.integration.accounts.setup import setup_token
from tests.support.images import Image, image, push_image
from tests.support.server import RunningServer, running_server
from tests.support.wire import Wire

PASSWORD = "correct horse battery"


@dataclass
class Registry:
    """The server, who is known to it, and ways to ask it."""

    server: RunningServer
    folder: Path
    secrets: dict[str, str] = field(default_factory=dict)
    pushed: Image | None = None

    @property
    def host(self) -> str:
        return self.server.host

    def headers(self, who: str | None) -> dict[str, str]:
        if who is None:
            return {}
        pair = f"{who}:{self.secrets[who]}".encode()
        return {"Authorization": "Basic " + base64.b64encode(pair).decode()}

    def api(
        self, method: str, path: str, body: Any = None, *, who: str | None = "admin", ok: bool = True
    ) -> Any:
        """JSON of the management API's answer; with `ok`, anything but success is an AssertionError."""
        request = urllib.request.Request(
            f"{self.server.url}/api/v1{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **self.headers(who)},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            text = error.read()
            if ok:
                raise AssertionError((method, path, error.code, text)) from error
        return json.loads(text) if text else None

    def wire(self, who: str | None) -> Wire:
        return Wire(self.server.port, headers=self.headers(who))

    def user(self, name: str, **more: Any) -> None:
        self.api("POST", "/users", {"name": name, "password": PASSWORD, **more})
        self.secrets[name] = PASSWORD


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry whose admin has chosen a password; empty otherwise."""
    folder = tmp_path_factory.mktemp("accounts")
    env = {"ENTREPOT_ACCESS_MODE": "accounts", "ENTREPOT_ACCESS_REGISTRIES": "docker.test"}
    with running_server(folder, env=env, workers=1) as server:
        made = Registry(server, folder)
        token = setup_token(server.log)
        made.api("POST", "/setup", {"token": token, "password": PASSWORD}, who=None)
        made.secrets["admin"] = PASSWORD
        yield made


@pytest.fixture(scope="module")
def registry(served: Registry) -> Registry:
    """Project acme with owner olga (and a token of hers), robot acme+ci, puller pia; stranger sam; `open`."""
    for name in ("olga", "pia", "sam"):
        served.user(name)
    served.api("POST", "/projects", {"name": "acme"})
    served.api("POST", "/projects", {"name": "open", "visibility": "public"})
    served.api("POST", "/projects/acme/grants", {"role": "owner", "principal": "olga"})
    served.api("POST", "/projects/acme/grants", {"role": "puller", "principal": "pia"})
    robot = served.api("POST", "/projects/acme/robots", {"name": "ci", "role": "developer"}, who="olga")
    served.secrets["acme+ci"] = robot["secret"]
    token = served.api("POST", "/self/tokens", {"name": "cluster", "actions": ["pull"]}, who="olga")
    served.secrets["olga-token"] = token["secret"]
    served.pushed = image()
    for repository in ("acme/app", "open/app"):
        push_image(served.wire("admin"), repository, "v1", served.pushed)
    return served


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody with credentials, and what they may do in project acme."""

    label: str
    name: str | None
    secret: str | None
    pulls: bool
    pushes: bool


LOGINS = ("olga", "acme+ci", "pia", "olga-token", "sam", "anonymous")


def login_of(registry: Registry, label: str) -> Login:
    if label == "anonymous":
        return Login(label, None, None, pulls=False, pushes=False)
    name = label.removesuffix("-token")
    return Login(
        label, name, registry.secrets[label], pulls=label != "sam", pushes=label in {"olga", "acme+ci"}
    )
