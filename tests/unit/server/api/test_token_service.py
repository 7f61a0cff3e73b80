"""The token service and `/v2/` as clients ask them (distribution's token authentication)."""

import base64
import json
from typing import Any

import httpx
import pytest

from entrepot.server.access.directory.accounts import get_account
from tests.unit.server.api.conftest import BASE, PASSWORD, Registry

pytestmark = pytest.mark.anyio


def claims_of(token: str) -> dict[str, Any]:
    part = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


async def test_ping_always_challenges(team: Registry) -> None:
    answer = await team.call("GET", "/v2/")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == f'Bearer realm="{BASE}/token",service="registry.test"'
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"
    assert answer.json()["errors"][0]["code"] == "UNAUTHORIZED"


async def test_challenge_names_the_scope(team: Registry) -> None:
    answer = await team.call("POST", "/v2/acme/app/blobs/uploads/")
    assert 'scope="repository:acme/app:pull,push"' in answer.headers["www-authenticate"]


async def test_login_probe_tells_good_from_bad(team: Registry) -> None:
    assert (await team.client.get("/token", auth=("owner", PASSWORD))).status_code == 200
    answer = await team.client.get("/token", auth=("owner", "wrong"))
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (401, "UNAUTHORIZED")


async def test_answer_has_what_every_client_reads(team: Registry) -> None:
    answer = await team.client.get(
        "/token",
        params=[
            ("service", "registry.test"),
            ("scope", "repository:acme/app:pull"),
            ("scope", "repository:open/app:pull"),
        ],
        auth=("puller", PASSWORD),
    )
    body = answer.json()
    assert body["token"] == body["access_token"]
    assert 60 <= body["expires_in"] <= 300
    assert body["issued_at"].endswith("Z")
    assert answer.headers["cache-control"] == "no-store"
    claims = claims_of(body["token"])
    assert {entry["name"] for entry in claims["access"]} == {"acme/app", "open/app"}
    assert claims.keys() >= {"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "access"}


async def test_missing_rights_are_a_smaller_token_never_an_error(team: Registry) -> None:
    for who, scope, actions in (
        ("puller", "repository:acme/app:pull,push", ["pull"]),
        ("viewer", "repository:acme/app:pull", []),
        ("stranger", "repository:acme/app:pull,push", None),
        (None, "repository:acme/app:pull", None),
        (None, "repository:open/app:pull,push", ["pull"]),
        ("puller", "nonsense", None),
    ):
        access = claims_of(await team.bearer(scope, who))["access"]
        assert (access[0]["actions"] if access else None) == actions, (who, scope)


async def test_bearer_token_pulls_and_no_more(team: Registry) -> None:
    token = await team.bearer("repository:acme/app:pull", "puller")
    headers = {"authorization": f"Bearer {token}"}
    assert (await team.call("GET", "/v2/", headers=headers)).status_code == 200
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", headers=headers)).status_code == 200
    refused = await team.call("DELETE", "/v2/acme/app/manifests/v1", headers=headers)
    assert refused.status_code == 401
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]
    assert "delete-tag" in refused.json()["errors"][0]["message"]
    other = await team.call("GET", "/v2/open/app/manifests/v1", headers=headers)
    assert other.status_code == 401


async def test_viewer_lists_tags_but_pulls_nothing(team: Registry) -> None:
    headers = {"authorization": f"Bearer {await team.bearer('repository:acme/app:pull', 'viewer')}"}
    assert (await team.call("GET", "/v2/acme/app/tags/list", headers=headers)).status_code == 200
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", headers=headers)).status_code == 401


async def test_revoked_token_is_refused_on_ping_too(team: Registry) -> None:
    token = await team.bearer("repository:acme/app:pull", "owner")
    headers = {"authorization": f"Bearer {token}"}
    assert (await team.call("GET", "/v2/", headers=headers)).status_code == 200
    await team.api("PATCH", "/users/owner", "root", json={"enabled": False})
    for path in ("/v2/", "/v2/acme/app/manifests/v1", "/v2/acme/app/tags/list"):
        answer = await team.call("GET", path, headers=headers)
        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]


@pytest.mark.parametrize("token", ["x", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "ent_pat_x"])
async def test_rubbish_bearer_is_an_invalid_token(registry: Registry, token: str) -> None:
    answer = await registry.call("GET", "/v2/", headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401


async def test_refused_on_the_wire_with_the_missing_action(team: Registry) -> None:
    answer = await team.call("POST", "/v2/acme/app/blobs/uploads/", "puller")
    assert (answer.status_code, answer.json()["errors"][0]["code"]) == (403, "DENIED")
    assert (
        answer.json()["errors"][0]["message"]
        == "puller may not push on acme/app: the role puller does not hold it"
    )


async def test_post_form_with_password_gives_a_refresh_token_that_works(team: Registry) -> None:
    form = {
        "grant_type": "password",
        "service": "registry.test",
        "client_id": "docker",
        "access_type": "offline",
        "username": "puller",
        "password": PASSWORD,
        "scope": "repository:acme/app:pull repository:open/app:pull",
    }
    answer = await team.client.post("/token", data=form)
    body = answer.json()
    assert body["scope"] == "repository:acme/app:pull repository:open/app:pull"
    again = {
        "grant_type": "refresh_token",
        "refresh_token": body["refresh_token"],
        "scope": "repository:acme/app:pull",
    }
    token = (await team.client.post("/token", data=again)).json()["access_token"]
    headers = {"authorization": f"Bearer {token}"}
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", headers=headers)).status_code == 200
    await team.api("PUT", "/self/password", "puller", json={"current": PASSWORD, "new": "another good one"})
    assert (await team.client.post("/token", data=again)).status_code == 401
    assert (await team.call("GET", "/v2/", headers=headers)).status_code == 401


async def test_only_passwords_earn_refresh_tokens(team: Registry) -> None:
    for name, secret in (("owner", PASSWORD), ("acme+ci", team.secrets["acme+ci"])):
        answer = await team.client.get("/token", params={"offline_token": "true"}, auth=(name, secret))
        assert ("refresh_token" in answer.json()) is (name == "owner")


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"grant_type": "password", "username": "puller", "password": "wrong"}, 401),
        ({"grant_type": "refresh_token", "refresh_token": "ent_ref_x"}, 401),
        ({"grant_type": "refresh_token"}, 401),
        ({"grant_type": "device_code"}, 400),
        ({}, 400),
        ({"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "x.y.z"}, 401),
    ],
)
async def test_bad_form_is_400_or_401(team: Registry, form: dict[str, str], status: int) -> None:
    answer = await team.client.post("/token", data=form)
    assert answer.status_code == status
    assert answer.json()["errors"]


async def test_token_for_another_registry_carries_its_certificate(team: Registry) -> None:
    answer = await team.client.get(
        "/token",
        params={"service": "docker.test", "scope": "repository:acme/app:pull"},
        auth=("puller", PASSWORD),
    )
    token = answer.json()["token"]
    header = json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))
    assert header["x5c"]
    assert claims_of(token)["aud"] == "docker.test"
    assert "entrepot" not in claims_of(token)
    refused = await team.call("GET", "/v2/", headers={"authorization": f"Bearer {token}"})
    assert refused.status_code == 401


async def test_catalog_of_another_registry_is_for_who_reads_everything(team: Registry) -> None:
    """It is not filtered there: whoever holds the scope reads the name of every repository."""
    held = {}
    for who in (None, "stranger", "owner", "acme+ci", "auditor", "root"):
        asked = {"service": "docker.test", "scope": "registry:catalog:*,pull"}
        answer = await team.client.get("/token", params=asked, auth=team.auth(who))
        held[who] = claims_of(answer.json()["token"])["access"]
    everything = [{"type": "registry", "name": "catalog", "actions": ["*"]}]
    assert held == {
        None: [],
        "stranger": [],
        "owner": [],
        "acme+ci": [],
        "auditor": everything,
        "root": everything,
    }


async def test_narrow_token_of_an_admin_holds_no_catalog_of_another_registry(team: Registry) -> None:
    root = await team.services.catalog.read(lambda c: get_account(c, "root"))
    narrow = await team.token(root, repositories=["open/**"])
    asked = {"service": "docker.test", "scope": "registry:catalog:*"}
    answer = await team.client.get("/token", params=asked, auth=("root", narrow))
    assert claims_of(answer.json()["token"])["access"] == []


async def test_the_address_of_the_token_service_is_not_made_up_by_the_request(team: Registry) -> None:
    """Without `public_url` it is the Host as the client sent it; and the path is the client's as well."""
    plain = await team.client.get("/v2/acme/app/manifests/v1", headers={"host": "other.test:5000"})
    assert plain.headers["www-authenticate"] == (
        'Bearer realm="http://other.test:5000/token",service="other.test:5000",'
        'scope="repository:acme/app:pull"'
    )
    for host in ('x",realm="http://evil.example', "evil.example/x", "user@evil.example", "a b", "a,b", "a\\"):
        for path in ("/v2/", "/v2/acme/app/manifests/v1", "/api/v1/self", "/"):
            refused = await team.client.get(path, headers={"host": host})
            assert refused.status_code == 400, (host, path)
            assert "www-authenticate" not in refused.headers
    for name in ('a",realm="http://evil.example', 'a"b', "a\\b", "acme/app:pull repository:x"):
        request = team.client.build_request("GET", "/")
        request.url = httpx.URL("http://registry.test", raw_path=f"/v2/{name}/manifests/v1".encode())
        answer = await team.client.send(request)
        assert answer.status_code == 401
        challenge = answer.headers["www-authenticate"]
        assert challenge == 'Bearer realm="http://registry.test/token",service="registry.test"', name


async def test_mount_needs_pull_on_its_source(team: Registry) -> None:
    """A5: a mount from what the caller may not read starts an upload; its bytes stay where they are."""
    await team.project("secret")
    pushed = await team.push("secret/app", "v1", files={"only": b"here"})
    digest = next(iter(pushed.blobs))
    for who, source, status in (("developer", "secret/app", 202), ("root", "secret/app", 201)):
        answer = await team.call("POST", f"/v2/acme/other/blobs/uploads/?mount={digest}&from={source}", who)
        assert answer.status_code == status
        got = await team.call("GET", f"/v2/acme/other/blobs/{digest}", who)
        assert got.status_code == (404 if status == 202 else 200)


async def test_a_narrow_token_is_told_what_a_mount_needs(team: Registry) -> None:
    """A5: whose account may pull the source is asked for a token that says so; nobody else learns of it."""
    pushed = await team.push("acme/source", "v1", files={"only": b"here"})
    path = f"/v2/acme/target/blobs/uploads/?mount={next(iter(pushed.blobs))}&from=acme/source"
    narrow, wide = "repository:acme/target:pull,push", "repository:acme/source:pull"
    token = await team.bearer(narrow, "developer")
    answer = await team.call("POST", path, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert f'scope="{narrow} {wide}",error="insufficient_scope"' in answer.headers["www-authenticate"]
    token = await team.bearer(f"{narrow} {wide}", "developer")
    answer = await team.call("POST", path, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 201
    await team.project("secret")
    token = await team.bearer(narrow, "developer")
    path = path.replace("from=acme/source", "from=secret/app")
    answer = await team.call("POST", path, headers={"authorization": f"Bearer {token}"})
    assert answer.status_code == 202


async def test_repository_made_again_refuses_the_old_token(team: Registry) -> None:
    token = await team.bearer("repository:acme/app:pull", "puller")
    assert (await team.api("DELETE", "/repositories/acme%2Fapp", "owner")).status_code == 204
    await team.push("acme/app", "v2")
    answer = await team.call("GET", "/v2/acme/app/manifests/v2", headers={"authorization": f"Bearer {token}"})
    assert (answer.status_code, 'error="invalid_token"' in answer.headers["www-authenticate"]) == (401, True)


async def test_pushing_creates_a_project_only_for_those_who_may(team: Registry) -> None:
    assert (await team.call("POST", "/v2/fresh/app/blobs/uploads/", "owner")).status_code == 403
    await team.api("PATCH", "/users/owner", "root", json={"may_create_projects": True})
    await team.push("fresh/app", "v1", who="owner")
    shown = await team.api("GET", "/projects/fresh/grants", "owner")
    assert [(g["principal"], g["role"]) for g in shown.json()["items"]] == [("owner", "owner")]


async def test_catalog_and_search_show_what_the_caller_may_see(team: Registry) -> None:
    assert (await team.call("GET", "/v2/_catalog")).status_code == 401
    for who, names in (
        ("stranger", ["open/app", "staff/app"]),
        ("puller", ["acme/app", "open/app", "staff/app"]),
        ("acme+ci", ["acme/app", "open/app"]),
    ):
        assert (await team.call("GET", "/v2/_catalog", who)).json()["repositories"] == names
    anonymous = {"authorization": f"Bearer {await team.bearer('registry:catalog:*')}"}
    assert (await team.call("GET", "/v2/_catalog", headers=anonymous)).json()["repositories"] == ["open/app"]
    found = await team.call("GET", "/v1/search?q=app")
    assert [entry["name"] for entry in found.json()["results"]] == ["open/app"]


async def test_tag_as_of_a_time(team: Registry) -> None:
    from datetime import UTC, datetime, timedelta

    old = (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).headers["docker-content-digest"]
    moment = datetime.fromtimestamp(team.services.catalog.clock.steady() / 1e6 + 0.001, UTC)
    await team.push("acme/app", "v1", who="developer", files={"other": b"content"})
    then = await team.call("GET", "/v2/acme/app/manifests/v1", "puller", params={"at": moment.isoformat()})
    assert then.headers["docker-content-digest"] == old
    early = (moment - timedelta(days=400)).isoformat()
    gone = await team.call("GET", "/v2/acme/app/manifests/v1", "puller", params={"at": early})
    assert (gone.status_code, gone.json()["errors"][0]["code"]) == (404, "MANIFEST_UNKNOWN")
    assert "7 days" in gone.json()["errors"][0]["message"]
    refused = await team.call("GET", "/v2/acme/app/manifests/v1", "stranger", params={"at": early})
    assert refused.status_code == 403
