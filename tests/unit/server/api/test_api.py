"""The management API: what each part does, and what it refuses."""

from typing import Any

import jsonschema
import pytest

from entrepot.server.access.secrets.access_tokens import mint
from entrepot.server.control.queries import search as search_queries
from tests.unit.server.api.conftest import PASSWORD, Registry

pytestmark = pytest.mark.anyio


async def test_description_is_openapi_31_with_examples(registry: Registry) -> None:
    document = (await registry.api("GET", "/schema/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation["summary"], (method, path)
            assert "401" in operation["responses"], (method, path)
            check_examples(document, operation, (method, path))
    assert document["components"]["schemas"]["NewUser"]["properties"]["name"]["examples"] == ["alice"]


def check_examples(document: dict[str, Any], operation: dict[str, Any], where: Any) -> None:
    """Each parameter, body and answer has one, and its schema allows it."""
    shown = [(p["schema"], p["example"]) for p in operation.get("parameters", ())]
    for holder in (operation.get("requestBody") or {}, *operation["responses"].values()):
        shown += [
            (c["schema"], c["example"]) for c in (holder.get("content") or {}).values() if "schema" in c
        ]
    for schema, example in shown:
        complete = {**schema, "components": document["components"]}
        errors = list(jsonschema.Draft202012Validator(complete).iter_errors(example))
        assert not errors, (where, example, errors[0].message)


async def test_problems_have_one_shape(team: Registry) -> None:
    for answer, status in (
        (await team.api("GET", "/users"), 401),
        (await team.api("GET", "/users", "owner"), 403),
        (await team.api("GET", "/users/nobody", "root"), 404),
        (await team.api("GET", "/nowhere", "root"), 404),
        (await team.api("POST", "/users", "root", json={"nam": 1}), 400),
        (await team.api("POST", "/users", "root", json={"name": "A b"}), 400),
        (await team.api("POST", "/users", "root", json={"name": "root"}), 409),
        (await team.api("DELETE", "/roles/owner", "root"), 409),
        (
            await team.api(
                "POST", "/users", "root", content=b"{", headers={"content-type": "application/json"}
            ),
            400,
        ),
        (await team.api("GET", "/projects?n=0", "root"), 400),
    ):
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json().keys() >= {"type", "title", "status", "detail"}
        assert answer.json()["status"] == status


async def test_pages_continue_after_a_key(registry: Registry) -> None:
    for name in ("a1", "a2", "a3"):
        await registry.project(name)
    first = await registry.api("GET", "/projects?n=2", "root")
    assert [p["name"] for p in first.json()["items"]] == ["a1", "a2"]
    following = await registry.call("GET", first.json()["next"], "root")
    assert [p["name"] for p in following.json()["items"]] == ["a3"]
    assert following.json()["next"] is None
    assert first.headers["link"] == f'<{first.json()["next"]}>; rel="next"'


async def test_if_match_refuses_the_second_writer(team: Registry) -> None:
    for path, change in (
        ("/users/owner", {"email": "o@example.org"}),
        ("/projects/acme", {"quota_bytes": 10**12}),
        ("/repositories/acme%2Fapp", {"description": "the app"}),
    ):
        tag = (await team.api("GET", path, "root")).headers["etag"]
        first = await team.api("PATCH", path, "root", json=change, headers={"if-match": tag})
        second = await team.api("PATCH", path, "root", json=change, headers={"if-match": tag})
        assert (first.status_code, second.status_code) == (200, 412)


@pytest.mark.parametrize("change", [{"description": "a\0"}, {"labels": ["x", "\0"]}], ids=["text", "list"])
async def test_text_with_nul_is_refused(team: Registry, change: dict[str, Any]) -> None:
    """PostgreSQL keeps none, and a registry on SQLite may move there."""
    answer = await team.api("PATCH", "/repositories/acme%2Fapp", "root", json=change)
    assert answer.status_code == 400
    assert "NUL" in answer.text


async def test_owner_gives_and_takes_roles(team: Registry) -> None:
    given = await team.api(
        "POST",
        "/projects/acme/grants",
        "owner",
        json={"role": "developer", "principal": "stranger", "tags": "v*"},
    )
    assert given.status_code == 201
    assert (await team.call("POST", "/v2/acme/app/blobs/uploads/", "stranger")).status_code == 202
    number = given.json()["id"]
    assert (await team.api("DELETE", f"/projects/open/grants/{number}", "root")).status_code == 404
    assert (await team.api("DELETE", f"/projects/acme/grants/{number}", "owner")).status_code == 204
    assert (await team.call("POST", "/v2/acme/app/blobs/uploads/", "stranger")).status_code == 403


@pytest.mark.parametrize(
    "grant",
    [
        {"role": "developer"},
        {"role": "developer", "principal": "puller", "team": "x"},
        {"role": "nope", "principal": "puller"},
        {"role": "developer", "principal": "ghost"},
        {"role": "developer", "principal": "puller", "repositories": "open/**"},
        {"role": "developer", "principal": "puller", "repositories": "acme/**/x"},
    ],
)
async def test_impossible_grant_is_refused(team: Registry, grant: dict[str, Any]) -> None:
    answer = await team.api("POST", "/projects/acme/grants", "owner", json=grant)
    assert answer.status_code in {400, 404}


async def test_robot_is_made_and_changes_its_own_secret(team: Registry) -> None:
    made = await team.api("POST", "/projects/acme/robots", "owner", json={"name": "cd", "role": "puller"})
    robot = made.json()["robot"]["name"]
    team.secrets[robot] = made.json()["secret"]
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", robot)).status_code == 200
    rotated = await team.api("POST", "/self/secret", robot, json={})
    assert (await team.call("GET", "/v2/", robot)).status_code == 401
    team.secrets[robot] = rotated.json()["secret"]
    assert (await team.call("GET", "/v2/", robot)).status_code == 200


async def test_nobody_gets_more_through_a_robot(team: Registry) -> None:
    """A maintainer looks after robots, but can't hold the secret of one that may do more."""
    refused = await team.api(
        "POST", "/projects/acme/robots", "maintainer", json={"name": "x", "role": "owner"}
    )
    assert refused.status_code == 403
    fine = await team.api(
        "POST", "/projects/acme/robots", "maintainer", json={"name": "x", "role": "developer"}
    )
    assert fine.status_code == 201
    strong = await team.api(
        "POST", "/projects/acme/robots", "owner", json={"name": "strong", "role": "owner"}
    )
    assert strong.status_code == 201
    taken = await team.api("POST", "/projects/acme/robots/acme+strong/secret", "maintainer", json={})
    assert taken.status_code == 403


async def test_unknown_issuers_are_for_admins_to_name(team: Registry) -> None:
    """The server fetches from an issuer's address; projects must not choose any."""
    path = "/projects/acme/robots/acme+ci/trusts"
    for who, issuer, status in (
        ("owner", "https://token.actions.githubusercontent.com", 201),
        ("owner", "https://10.0.0.1", 403),
        ("owner", "http://localhost:8080", 403),
        ("root", "https://ci.example.org", 201),
        ("owner", "https://ci.example.org", 201),
        ("root", "http://169.254.169.254", 400),
    ):
        rule = {"issuer": issuer, "claims": {"repository": "acme/app"}}
        answer = await team.api("POST", path, who, json=rule)
        assert answer.status_code == status, (who, issuer, answer.text)


async def test_robot_of_another_project_is_not_found(team: Registry) -> None:
    await team.robot("open+bot")
    answer = await team.api("DELETE", "/projects/acme/robots/open+bot", "owner")
    assert answer.status_code == 404


async def test_token_can_not_make_tokens(team: Registry) -> None:
    made = await team.api("POST", "/self/tokens", "owner", json={"name": "laptop", "actions": ["pull"]})
    assert made.status_code == 201
    secret = made.json()["secret"]
    headers = {"authorization": f"Bearer {secret}"}
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", headers=headers)).status_code == 200
    assert (await team.call("POST", "/v2/acme/app/blobs/uploads/", headers=headers)).status_code == 403
    assert (await team.api("POST", "/self/tokens", headers=headers, json={})).status_code == 403
    listed = await team.api("GET", "/self/tokens", "owner")
    assert secret not in listed.text
    token_id = listed.json()["items"][0]["id"]
    assert (await team.api("DELETE", f"/self/tokens/{token_id}", "stranger")).status_code == 404
    assert (await team.api("DELETE", f"/self/tokens/{token_id}", "owner")).status_code == 204
    assert (await team.call("GET", "/v2/", headers=headers)).status_code == 401


async def test_token_with_any_action_but_no_narrowing_can_not_make_tokens_either(team: Registry) -> None:
    account = (await team.api("GET", "/users/owner", "root")).json()
    assert account["name"] == "owner"
    row = await team.services.catalog.read(
        lambda c: __import__(
            "entrepot.server.access.directory.accounts", fromlist=["get_account"]
        ).get_account(c, "owner")
    )
    secret = await team.write(mint, kind="pat", owner_id=row.id, owner="owner")
    headers = {"authorization": f"Bearer {secret.text}"}
    assert (await team.api("POST", "/self/tokens", headers=headers, json={})).status_code == 403
    assert (await team.api("GET", "/self", headers=headers)).status_code == 200


async def test_repository_shows_and_takes_descriptions(team: Registry) -> None:
    changed = await team.api(
        "PATCH",
        "/repositories/acme%2Fapp",
        "developer",
        json={"description": "the app", "readme": "# Hello", "labels": ["Base", "web"]},
    )
    assert changed.json()["labels"] == ["base", "web"]
    assert (await team.api("PATCH", "/repositories/acme%2Fapp", "puller", json={})).status_code == 403
    assert (await team.api("PUT", "/repositories/acme%2Fapp/star", "puller")).status_code == 204
    shown = (await team.api("GET", "/repositories/acme%2Fapp", "puller")).json()
    assert (shown["description"], shown["stars"], shown["starred"], shown["tags"]) == ("the app", 1, True, 1)
    assert shown["size_bytes"] > shown["shared_bytes"] > 0
    assert [r["name"] for r in (await team.api("GET", "/self/stars", "puller")).json()["items"]] == [
        "acme/app"
    ]
    labels = (await team.api("GET", "/labels", "puller")).json()
    assert labels == [{"label": "base", "repositories": 1}, {"label": "web", "repositories": 1}]
    assert (await team.api("GET", "/labels", "stranger")).json() == []


async def test_tag_and_manifest_say_what_they_hold(team: Registry) -> None:
    await team.push("acme/own", "v1", files={"unique": b"u" * 5000})
    own = (await team.api("GET", "/repositories/acme%2Fown/tags/v1", "puller")).json()
    assert own["unique_bytes"] > 0
    shared = (await team.api("GET", "/repositories/acme%2Fapp/tags/v1", "puller")).json()
    assert shared["shared_bytes"] > 0
    listed = (await team.api("GET", "/repositories/acme%2Fapp/tags", "viewer")).json()["items"]
    assert [tag["name"] for tag in listed] == ["v1"]
    path = f"/repositories/acme%2Fapp/manifests/{listed[0]['digest']}"
    assert (await team.api("GET", path, "viewer")).status_code == 403
    detail = (await team.api("GET", path, "puller")).json()
    assert (detail["tags"], detail["config"]["os"], detail["layers"][0]["command"]) == (
        ["v1"],
        "linux",
        "layer 0",
    )


async def test_deleted_things_come_back(team: Registry) -> None:
    tag = "/repositories/acme%2Fapp/tags/v1"
    assert (await team.api("DELETE", tag, "developer")).status_code == 403
    assert (await team.api("DELETE", tag, "maintainer")).status_code == 204
    listed = (await team.api("GET", "/undo", "maintainer")).json()
    assert [(u["kind"], u["name"]) for u in listed] == [("tag-deleted", "acme/app:v1")]
    assert (await team.api("GET", "/undo", "stranger")).json() == []
    assert (await team.api("POST", f"{tag}/restore", "maintainer", json={})).status_code == 200
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).status_code == 200
    moves = (await team.api("GET", f"{tag}/history", "viewer")).json()["items"]
    assert [(m["old"] is None, m["new"] is None, m["by"], m["restored"]) for m in moves] == [
        (True, False, "maintainer", True),
        (False, True, "maintainer", False),
        (True, False, "root", False),
    ]

    usage = (await team.api("GET", "/projects/acme", "owner")).json()["usage_bytes"]
    assert (await team.api("DELETE", "/repositories/acme%2Fapp", "maintainer")).status_code == 204
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).status_code == 404
    assert (await team.api("GET", "/projects/acme", "owner")).json()["usage_bytes"] == 0
    assert (await team.api("POST", "/repositories/acme%2Fapp/restore", "maintainer")).status_code == 200
    assert (await team.api("GET", "/projects/acme", "owner")).json()["usage_bytes"] == usage

    assert (await team.api("DELETE", "/projects/acme", "maintainer")).status_code == 403
    assert (await team.api("DELETE", "/projects/acme", "owner")).status_code == 204
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).status_code == 403
    assert (await team.api("POST", "/projects/acme/restore", "owner")).status_code == 403
    assert (await team.api("POST", "/projects/acme/restore", "root")).status_code == 200
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).status_code == 200


async def test_search_finds_names_tags_and_digests(team: Registry) -> None:
    digest = (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).headers["docker-content-digest"]
    blob = (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).json()["config"]["digest"]
    for term, who, found in (
        (
            "app",
            "puller",
            [("repository", "open/app"), ("repository", "acme/app"), ("repository", "staff/app")],
        ),
        ("app", None, [("repository", "open/app")]),
        ("acme/app:v", "puller", [("tag", "acme/app:v1")]),
        (digest[7:20], None, [("digest", "open/app")]),
        ("v1", "puller", [("tag", "open/app:v1"), ("tag", "acme/app:v1"), ("tag", "staff/app:v1")]),
        ("V1", "stranger", [("tag", "open/app:v1"), ("tag", "staff/app:v1")]),
        (":v", None, [("tag", "open/app:v1")]),
        ("registry.test:5000/acme/app:v1", "puller", [("tag", "acme/app:v1")]),
        (f"open/app@{digest}", None, [("digest", "open/app")]),
        (blob[7:30], None, [("digest", "open/app")]),
        (blob, "puller", [("digest", "open/app"), ("digest", "acme/app"), ("digest", "staff/app")]),
        ("", "puller", []),
        ("%_", "puller", []),
    ):
        answer = (await team.api("GET", "/search", who, params={"q": term})).json()
        assert sorted((f["kind"], f["name"]) for f in answer) == sorted(found), (term, who)


async def _describe(team: Registry, repository: str, text: str) -> None:
    path = f"/repositories/{repository.replace('/', '%2F')}"
    answer = await team.api("PATCH", path, "root", headers={"if-match": '"0"'}, json={"description": text})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("term", ["billing", "Front BILLING", "ACME bill", "app front"])
async def test_search_finds_words_of_names_and_descriptions(team: Registry, term: str) -> None:
    await _describe(team, "acme/app", "The front end of Billing")
    found = (await team.api("GET", "/search", "puller", params={"q": term})).json()
    assert [(f["name"], f["description"]) for f in found] == [("acme/app", "The front end of Billing")]
    listed = (await team.call("GET", "/v1/search", "puller", params={"q": term})).json()
    assert [(r["name"], r["description"]) for r in listed["results"]] == [
        ("acme/app", "The front end of Billing")
    ]
    for path in ("/api/v1/search", "/v1/search"):
        assert "acme/app" not in (await team.call("GET", path, "stranger", params={"q": term})).text


async def test_words_of_a_name_are_found_in_any_case(team: Registry) -> None:
    await _describe(team, "open/app", "like acme's app")
    for path in ("/api/v1/search", "/v1/search"):
        answer = (await team.call("GET", path, "puller", params={"q": "Acme APP"})).json()
        found = answer if isinstance(answer, list) else answer["results"]
        assert [one["name"] for one in found] == ["acme/app", "open/app"]  # the name before the text


@pytest.mark.parametrize("own", [1, 100])
async def test_exact_tag_comes_before_those_that_begin_so(
    team: Registry, monkeypatch: pytest.MonkeyPatch, own: int
) -> None:
    monkeypatch.setattr(search_queries, "MAX_OWN_REPOSITORIES", own)
    await team.push("acme/b", "v1.1")
    await team.push("acme/a-long-name", "v1")
    answer = (await team.api("GET", "/search", "root", params={"q": "v1"})).json()
    tags = [f["name"].partition(":")[2] for f in answer if f["kind"] == "tag"]
    assert tags == ["v1"] * (len(tags) - 1) + ["v1.1"]


async def test_tags_are_found_by_name_among_many_repositories(
    team: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_queries, "MAX_OWN_REPOSITORIES", 1)
    await team.push("acme/app", "RC-1")
    await team.push("acme/app", "v1.0")
    for term, who, found in (
        ("v1", "root", ["acme/app:v1", "open/app:v1", "staff/app:v1", "acme/app:v1.0"]),
        ("rc-", "puller", ["acme/app:RC-1"]),
        ("v1", "stranger", ["open/app:v1", "staff/app:v1"]),
    ):
        answer = (await team.api("GET", "/search", who, params={"q": term})).json()
        assert [f["name"] for f in answer] == found, (term, who)
    few = (await team.api("GET", "/search", "root", params={"q": "app", "n": 3})).json()
    assert [f["kind"] for f in few] == ["repository"] * 3


async def test_teams_and_custom_roles(team: Registry) -> None:
    for method, path, body, status in (
        ("POST", "/teams", {"name": "devs"}, 201),
        ("PUT", "/teams/devs/members/stranger", None, 204),
        ("POST", "/roles", {"name": "releaser", "actions": ["pull", "push", "create-tag"]}, 201),
        ("POST", "/projects/acme/grants", {"role": "releaser", "team": "devs"}, 201),
    ):
        answer = await team.api(method, path, "root", json=body)
        assert answer.status_code == status, answer.text
    await team.push("acme/app", "v9", who="stranger")
    refused = await team.call(
        "PUT",
        "/v2/acme/app/manifests/v1",
        "stranger",
        content=(await team.push("acme/app", "v8", who="stranger", files={"n": b"new"})).manifest,
        headers={"content-type": "application/vnd.oci.image.manifest.v1+json"},
    )
    assert refused.status_code == 403
    assert "overwrite-tag" in refused.json()["errors"][0]["message"]
    assert (await team.api("DELETE", "/roles/releaser", "root")).status_code == 409
    assert (await team.api("POST", "/teams", "owner", json={"name": "mine"})).status_code == 403


async def test_explanations_name_the_rule(team: Registry) -> None:
    own = await team.api(
        "GET", "/explain", "puller", params={"user": "puller", "action": "push", "repository": "acme/app"}
    )
    assert (own.json()["allowed"], own.json()["rule"]) == (False, "no-grant")
    assert any("puller" in step for step in own.json()["steps"])
    about = {"user": "developer", "action": "push", "repository": "acme/app"}
    assert (await team.api("GET", "/explain", "owner", params=about)).json()["allowed"]
    assert (await team.api("GET", "/explain", "stranger", params=about)).status_code == 403


async def test_audit_shows_who_from_where_before_and_after(team: Registry) -> None:
    await team.api("PATCH", "/projects/acme", "owner", json={"visibility": "public"})
    row = (await team.api("GET", "/audit?n=1", "auditor")).json()["items"][0]
    assert (row["principal"], row["address"], row["action"]) == ("owner", "10.0.0.7", "change-project")
    assert (row["old"], row["new"], bool(row["request_id"])) == (
        "visibility=private",
        "visibility=public",
        True,
    )
    assert (await team.api("GET", "/audit", "owner")).status_code == 403
    mine = (await team.api("GET", "/projects/acme/audit", "owner")).json()["items"]
    assert {entry["repository"].partition("/")[0] for entry in mine} == {"acme"}
    assert (await team.api("PATCH", "/users/owner", "auditor", json={"enabled": False})).status_code == 403


async def test_settings_hold_from_the_next_request(team: Registry) -> None:
    assert (await team.api("PATCH", "/settings", "root", json={"read_only": True})).json()["read_only"]
    refused = await team.call("POST", "/v2/acme/app/blobs/uploads/", "owner")
    assert "read-only" in refused.json()["errors"][0]["message"]
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "puller")).status_code == 200
    await team.api("PATCH", "/settings", "root", json={"read_only": False, "project_creation": "signed-in"})
    await team.push("mine/app", "v1", who="stranger")


# Sessions: cookies, and what other sites may not do (X2).


async def test_session_signs_in_and_out(team: Registry) -> None:
    answer = await team.api("POST", "/session", json={"name": "owner", "password": PASSWORD})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    csrf = answer.json()["csrf_token"]
    assert (await team.api("GET", "/self")).json()["name"] == "owner"
    assert (await team.call("GET", "/v2/")).status_code == 401  # a cookie never opens the data plane
    for headers in ({}, {"x-csrf-token": "x"}, {"x-csrf-token": csrf, "origin": "http://evil.test"}):
        assert (await team.api("PATCH", "/self", json={"email": "x"}, headers=headers)).status_code == 403
    cross = {"x-csrf-token": csrf, "sec-fetch-site": "cross-site"}
    assert (await team.api("PATCH", "/self", json={"email": "x"}, headers=cross)).status_code == 403
    good = {"x-csrf-token": csrf, "origin": "http://registry.test"}
    assert (await team.api("PATCH", "/self", json={"email": "x"}, headers=good)).status_code == 200
    session = dict(team.client.cookies)
    assert (await team.api("DELETE", "/session", headers=good)).status_code == 200
    team.client.cookies.update(session)
    assert (await team.api("GET", "/self")).status_code == 401


async def test_cookie_is_host_bound_over_https(team: Registry) -> None:
    from entrepot.server.http.session_cookie import session_cookie

    header = session_cookie("x", "https").to_header(header="")
    assert header.startswith("__Host-entrepot=x")
    assert "Secure" in header
    assert "Path=/" in header


async def test_log_in_of_another_site_is_refused(team: Registry) -> None:
    answer = await team.api(
        "POST",
        "/session",
        json={"name": "owner", "password": PASSWORD},
        headers={"origin": "http://evil.test"},
    )
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/projects/acme?x=1", "/projects/acme?x=1"),
        ("//evil.test", "/"),
        ("https://evil.test/", "/"),
        ("/\\evil.test", "/"),
        ("\\/evil.test", "/"),
        ("javascript:alert(1)", "/"),
        ("/a\r\nset-cookie: x", "/"),
        ("", "/"),
        (None, "/"),
    ],
)
def test_next_stays_on_this_site(text: str | None, path: str) -> None:
    from entrepot.server.http.session_cookie import local_path

    assert local_path(text) == path


async def test_setup_link_works_once(registry: Registry) -> None:
    await registry.forget_passwords()
    body = {"token": registry.setup, "password": "a fine long password"}
    assert (await registry.api("POST", "/setup", json={**body, "password": "short"})).status_code == 400
    answer = await registry.api("POST", "/setup", json=body)
    assert answer.json()["name"] == "admin"
    registry.client.cookies.clear()
    assert (await registry.api("POST", "/setup", json=body)).status_code == 401
    registry.secrets["admin"] = "a fine long password"
    assert (await registry.api("GET", "/users", "admin")).status_code == 200


# Another registry's notifications.


async def test_events_of_a_docker_registry_appear_in_search(team: Registry) -> None:
    await team.robot("+notify")
    event = {
        "id": "one",
        "timestamp": "2024-05-01T10:00:00.123456789Z",
        "action": "push",
        "target": {
            "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
            "digest": "sha256:" + "a" * 64,
            "repository": "acme/legacy",
            "tag": "v1",
        },
        "actor": {"name": "puller"},
    }
    pull = {**event, "id": "two", "action": "pull"}
    rubbish = [{"id": "x"}, {"id": "y", "target": {"repository": "../x"}}, 7]
    body = {"events": [event, pull, pull, *rubbish]}
    for who, status in (("+notify", 204), ("+notify", 204), ("acme+ci", 403), ("owner", 403), (None, 401)):
        answer = await team.api("POST", "/upstreams/docker.test/events", who, json=body)
        assert answer.status_code == status
    shown = (await team.api("GET", "/upstreams/repositories", "puller")).json()["items"]
    assert [(r["name"], r["tags"], r["pulls"]) for r in shown] == [("acme/legacy", ["v1"], 1)]
    assert (await team.api("GET", "/upstreams/repositories", "stranger")).json()["items"] == []
    found = (await team.api("GET", "/search?q=legacy", "puller")).json()
    assert [(f["kind"], f["registry"]) for f in found] == [("upstream", "docker.test")]
    gone = {"events": [{**event, "id": "three", "action": "delete"}]}
    await team.api("POST", "/upstreams/docker.test/events", "+notify", json=gone)
    assert (await team.api("GET", "/upstreams/repositories", "puller")).json()["items"][0]["tags"] == []


async def test_events_of_a_docker_registry_may_hold_what_is_no_text(team: Registry) -> None:
    await team.robot("+notify")
    body = b"""{"events": [
        {"id": "\\ud800\\u0000", "action": "push", "timestamp": "0001-01-01T00:00:00",
         "actor": {"name": "\\udfff\\u001b"},
         "target": {"repository": "acme/odd", "tag": "v1", "mediaType": "\\ud800", "digest": "sha256:%b"}}
    ]}""" % (b"a" * 64)
    answer = await team.api("POST", "/upstreams/docker.test/events", "+notify", content=body)
    assert answer.status_code == 204
    shown = await team.api("GET", "/upstreams/repositories", "puller")
    assert [(r["name"], r["tags"]) for r in shown.json()["items"]] == [("acme/odd", ["v1"])]


async def test_no_secret_reaches_a_log(team: Registry, caplog: pytest.LogCaptureFixture) -> None:
    """L1: canaries go through every door, and none comes out in the log."""
    caplog.set_level("DEBUG")
    canary = "canary-1234567890-password"
    await team.api("POST", "/users", "root", json={"name": "bird", "password": canary})
    await team.client.get("/token", auth=("bird", canary))
    await team.client.get("/token", auth=("bird", canary + "x"))
    await team.client.post("/token", data={"grant_type": "password", "username": "bird", "password": canary})
    await team.api("POST", "/setup", json={"token": "ent_set_canary-1234567890", "password": canary})
    text = caplog.text + repr([record.__dict__ for record in caplog.records])
    assert "canary-1234567890" not in text
