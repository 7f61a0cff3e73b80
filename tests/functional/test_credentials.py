"""K5 as a user meets it: an account is typed once, and no registry can make the tool send it elsewhere."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.images import OCI_MANIFEST, image, layer_tar
from tests.support.lying_registry import LyingRegistry, Reply, Request, lying_registry
from tests.support.tool import Tool

IMAGE = image(({"a": b"a" * 3000},))
LAYER = json.loads(IMAGE.manifest)["layers"][0]["digest"]
PASSWORD = "correct horse"
BASIC = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
TOKEN = "token-of-me"


@pytest.fixture
def other() -> Iterator[LyingRegistry]:
    """Another host, which would gladly take a password: it asks for one at every request."""

    def ask(request: Request) -> Reply:
        if request.authorization is None and request.path != "/token":
            return Reply(401, {"WWW-Authenticate": 'Basic realm="give it to me"'})
        return Reply(200, body=json.dumps({"token": TOKEN}).encode())

    with lying_registry(ask) as host:
        yield host


@pytest.fixture
def user(tmp_path: Path) -> Tool:
    return Tool(tmp_path / "home", "localhost:1")


def log_in(user: Tool, registry: LyingRegistry) -> None:
    config = user.home / ".docker" / "config.json"
    config.parent.mkdir(exist_ok=True)
    entry = {"auth": BASIC.removeprefix("Basic ")}
    config.write_text(json.dumps({"auths": {registry.host: entry}}))


def guarded(
    challenge: Callable[[Request], str], blob: Callable[[Request], Reply | None] = lambda _: None
) -> Callable[[Request], Reply]:
    """A registry of one image that answers nothing without an account."""

    def answer(request: Request) -> Reply:
        name = request.path.rpartition("/")[2]
        if request.path == "/token":
            return Reply(200, body=json.dumps({"token": TOKEN}).encode())
        if request.authorization is None:
            return Reply(401, {"WWW-Authenticate": challenge(request)})
        if request.path == "/v2/":
            return Reply(200, body=b"{}")
        if request.method == "POST":
            return blob(request) or Reply(202, {"Location": "/v2/app/blobs/uploads/1"})
        if "/manifests/" in request.path:
            return Reply(200, {"Content-Type": OCI_MANIFEST}, IMAGE.manifest)
        if name == LAYER and (reply := blob(request)) is not None:
            return reply
        return Reply(200, body=IMAGE.blobs[name]) if name in IMAGE.blobs else Reply(404)

    return answer


def basic(_: Request) -> str:
    return 'Basic realm="registry"'


def own_realm(request: Request) -> str:
    return f'Bearer realm="http://{request.headers["host"]}/token",service="s"'


def authorizations(host: LyingRegistry) -> list[str]:
    return [request.authorization for request in host.requests if request.authorization]


@pytest.mark.parametrize("challenge", [basic, own_realm], ids=["password", "token"])
def test_k5_a_layer_kept_elsewhere_is_fetched_without_the_account(
    user: Tool, challenge: Callable[[Request], str]
) -> None:
    with lying_registry(lambda _: Reply(200, body=IMAGE.blobs[LAYER])) as storage:
        away = Reply(307, {"Location": f"{storage.url}/{LAYER}"})
        with lying_registry(guarded(challenge, lambda _: away)) as registry:
            log_in(user, registry)
            user.run("pull", f"{registry.host}/app:1")
        assert set(authorizations(registry)) <= {BASIC, f"Bearer {TOKEN}"}
        assert storage.requests
        assert authorizations(storage) == []


def test_k5_storage_that_asks_for_the_password_gets_none(user: Tool, other: LyingRegistry) -> None:
    away = Reply(307, {"Location": f"{other.url}/{LAYER}"})
    with lying_registry(guarded(basic, lambda _: away)) as registry:
        log_in(user, registry)
        text = user.err("pull", f"{registry.host}/app:1")
    assert authorizations(registry)
    assert other.requests
    assert authorizations(other) == []
    assert PASSWORD not in text


def test_k5_a_token_server_elsewhere_is_refused_in_words(user: Tool, other: LyingRegistry) -> None:
    def realm(_: Request) -> str:
        return f'Bearer realm="{other.url}/token",service="s"'

    with lying_registry(guarded(realm)) as registry:
        log_in(user, registry)
        text = user.err("pull", f"{registry.host}/app:1")
    assert "another host" in text
    assert "token-realms" in text
    assert text.count("\n") == 1
    assert other.requests == []


def test_k5_an_upload_elsewhere_is_refused(user: Tool, other: LyingRegistry) -> None:
    away = Reply(202, {"Location": f"{other.url}/upload"})
    with lying_registry(guarded(basic, lambda _: away)) as registry:
        log_in(user, registry)
        user.run("import", "-", f"{registry.host}/mine:1", stdin=layer_tar({"x": b"1" * 100}))
        text = user.err("push", f"{registry.host}/mine:1")
    assert f"which is not {registry.url}; refused" in text
    assert other.requests == []


def test_k5_a_login_does_not_try_the_password_elsewhere(user: Tool, other: LyingRegistry) -> None:
    def realm(_: Request) -> str:
        return f'Bearer realm="{other.url}/token",service="s"'

    with lying_registry(guarded(realm)) as registry:
        done = user.run(
            "login", "-u", "me", "--password-stdin", registry.host, stdin=PASSWORD.encode(), code=1
        )
    assert b"another host" in done.stderr
    assert other.requests == []
    assert not (user.home / ".docker" / "config.json").exists()


@pytest.mark.parametrize("challenge", [basic, own_realm], ids=["password", "token"])
def test_k5_debug_shows_requests_and_no_secret(user: Tool, challenge: Callable[[Request], str]) -> None:
    with lying_registry(guarded(challenge)) as registry:
        log_in(user, registry)
        said = user.run("--debug", "pull", f"{registry.host}/app:1").stderr.decode()
    assert f"/v2/app/blobs/{LAYER}" in said
    for secret in (PASSWORD, BASIC.removeprefix("Basic "), TOKEN):
        assert secret not in said
