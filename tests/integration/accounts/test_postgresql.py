"""Accounts on PostgreSQL: the same statements, the same answers."""

import base64
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.accounts.conftest import PASSWORD, Registry
from tests.integration.accounts.setup import setup_token
from tests.support.images import image, push_image
from tests.support.server import running_server

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def on_postgresql(tmp_path: Path, postgresql_url: str) -> Iterator[Registry]:
    env = {"ENTREPOT_ACCESS_MODE": "accounts", "ENTREPOT_CATALOG_URL": postgresql_url}
    with running_server(tmp_path, env=env, workers=1) as server:
        made = Registry(server, tmp_path)
        token = setup_token(server.log)
        made.api("POST", "/setup", {"token": token, "password": PASSWORD}, who=None)
        made.secrets["admin"] = PASSWORD
        yield made


def test_a_team_works_on_postgresql(on_postgresql: Registry) -> None:
    registry = on_postgresql
    for name in ("olga", "pia"):
        registry.user(name)
    registry.api("POST", "/projects", {"name": "acme"})
    registry.api("POST", "/teams", {"name": "devs"})
    registry.api("PUT", "/teams/devs/members/pia")
    registry.api("POST", "/projects/acme/grants", {"role": "owner", "principal": "olga"})
    registry.api(
        "POST", "/projects/acme/grants", {"role": "puller", "team": "devs", "repositories": "acme/app/**"}
    )
    again = {"role": "owner", "principal": "olga"}
    assert registry.api("POST", "/projects/acme/grants", again, ok=False)["status"] == 409
    robot = registry.api("POST", "/projects/acme/robots", {"name": "ci", "role": "developer"}, who="olga")
    registry.secrets["acme+ci"] = robot["secret"]
    push_image(registry.wire("acme+ci"), "acme/app", "v1", image())

    assert registry.wire("pia")("GET", "/v2/acme/app/manifests/v1").status == 200
    assert registry.wire("pia")("POST", "/v2/acme/app/blobs/uploads/").status == 403
    token = registry.wire("pia")("GET", "/token?scope=repository:acme/app:pull").json()["token"]
    headers = {"Authorization": f"Bearer {token}"}
    assert registry.wire(None)("GET", "/v2/acme/app/manifests/v1", headers=headers).status == 200
    registry.api("PATCH", "/users/pia", {"enabled": False})
    assert registry.wire(None)("GET", "/v2/acme/app/manifests/v1", headers=headers).status == 401

    change = {"description": "the app", "labels": ["web"], "readme": "# Hello"}
    registry.api("PATCH", "/repositories/acme%2Fapp", change, who="olga")
    shown = registry.api("GET", "/repositories/acme%2Fapp", who="olga")
    assert (shown["description"], shown["labels"], shown["tags"]) == ("the app", ["web"], 1)
    assert registry.api("GET", "/repositories/acme%2Fapp/tags/v1", who="olga")["unique_bytes"] > 0
    assert registry.api("GET", "/search?q=app", who="olga")[0]["name"] == "acme/app"
    assert registry.api("GET", "/labels", who="olga") == [{"label": "web", "repositories": 1}]
    registry.api("PUT", "/repositories/acme%2Fapp/star", who="olga")
    assert [r["name"] for r in registry.api("GET", "/self/stars", who="olga")["items"]] == ["acme/app"]

    registry.api("DELETE", "/repositories/acme%2Fapp/tags/v1", who="olga")
    assert [u["kind"] for u in registry.api("GET", "/undo", who="olga")] == ["tag-deleted"]
    registry.api("POST", "/repositories/acme%2Fapp/tags/v1/restore", {}, who="olga")
    registry.api("DELETE", "/projects/acme", who="olga")
    registry.api("POST", "/projects/acme/restore")
    assert registry.wire("olga")("GET", "/v2/acme/app/manifests/v1").status == 200
    actions = {row["action"] for row in registry.api("GET", "/audit?n=1000")["items"]}
    assert {"create-user", "add-grant", "add-member", "create-token", "edit-repository", "restore"} <= actions
    explained = registry.api("GET", "/explain?user=acme%2Bci&action=delete-tag&repository=acme/app")
    assert (explained["allowed"], explained["rule"]) == (False, "no-grant")
    for pair in (b"ol\0ga:a password", b"olga:a pass\0word"):
        nul = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
        for path in ("/v2/", "/token", "/api/v1/self"):
            assert registry.wire(None)("GET", path, headers=nul).status == 401, (pair, path)
    for command in (
        ("user", "list"),
        ("grant", "list"),
        ("robot", "list"),
        ("undo",),
        ("token", "rotate-key"),
    ):
        registry.server.admin(*command)
