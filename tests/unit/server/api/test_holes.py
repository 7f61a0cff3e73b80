"""What somebody without rights could learn or keep: each a way that was tried, and once worked for some."""

import hashlib
import re
from typing import Any

import httpx
import pytest
from sqlalchemy import insert

from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.directory.grants import add_grant
from entrepot.server.access.directory.projects import get_project
from entrepot.server.access.directory.teams import add_member, create_team
from entrepot.server.control.queries.content import get_repository, list_tags
from entrepot.server.db.tables.access import upstream_repo
from tests.unit.server.api.conftest import PASSWORD, Registry

pytestmark = pytest.mark.anyio


def same(one: httpx.Response, other: httpx.Response, *names: tuple[str, str]) -> bool:
    """Equal answers, when each asked about another name."""
    text = other.text
    for there, here in names:
        text = text.replace(there, here)
    return (one.status_code, one.json() if one.text else None) == (
        other.status_code,
        httpx.Response(200, text=text).json() if text else None,
    )


async def test_explaining_to_oneself_tells_nothing_of_hidden_projects(team: Registry) -> None:
    """`steps` said whether there is such a project, and how visible it is."""
    ask = "/explain?user=stranger&action=pull&repository="
    hidden = await team.api("GET", f"{ask}acme/app", "stranger")
    absent = await team.api("GET", f"{ask}nope/app", "stranger")
    assert hidden.status_code == 200
    assert same(hidden, absent, ("nope", "acme"))
    shown = (await team.api("GET", "/explain?user=viewer&action=pull&repository=acme/app", "viewer")).json()
    assert "project acme is private" in shown["steps"]


async def test_upstream_names_are_seen_by_members_of_that_very_project(team: Registry) -> None:
    """`_` in a project's name was a wildcard: a member of a_b saw what axb has elsewhere."""
    hers = await team.project("a_b")
    await team.project("axb")
    await team.grant(await team.user("ann"), hers, "viewer")
    for name in ("a_b/own", "axb/secret", "a_b"):
        await team.services.catalog.write(
            lambda c, name=name: c.execute(
                insert(upstream_repo).values(registry="docker.test", name=name, pulls=0, seen_at=1)
            )
        )
    found = (await team.api("GET", "/upstreams/repositories", "ann")).json()["items"]
    assert [row["name"] for row in found] == ["a_b/own", "a_b"]
    assert (await team.api("GET", "/search?q=secret", "ann")).json() == []


async def test_what_a_project_was_is_not_told_to_who_made_it_anew(team: Registry) -> None:
    """The audit log went by the name; an old repository's name could be guessed by restoring it."""
    await team.push("acme/hidden-name", "secret-tag")
    await team.api("DELETE", "/repositories/acme%2Fhidden-name", "owner")
    await team.api("DELETE", "/projects/acme", "root")
    await team.user("newcomer", may_create_projects=True)
    assert (await team.api("POST", "/projects", "newcomer", json={"name": "acme"})).status_code == 201
    rows = (await team.api("GET", "/projects/acme/audit?n=1000", "newcomer")).json()["items"]
    assert {row["action"] for row in rows} == {"create-project", "add-grant"}
    before = (await team.api("GET", "/audit?n=1000", "root")).json()["items"]
    assert "delete-project" in {row["action"] for row in before}
    was = await team.api("POST", "/repositories/acme%2Fhidden-name/restore", "newcomer")
    never = await team.api("POST", "/repositories/acme%2Fnot-there/restore", "newcomer")
    assert same(was, never, ("not-there", "hidden-name"))
    assert (await team.api("GET", "/undo", "newcomer")).json() == []
    assert (await team.call("GET", "/v2/acme/app/manifests/v1?at=2030-01-01", "newcomer")).status_code == 404


async def test_sizes_do_not_tell_what_others_hold(team: Registry) -> None:
    """Who has a file could learn from `shared_bytes` that a hidden repository has it too."""
    outside = await team.project("outside")
    await team.grant(await team.user("oscar"), outside, "owner")
    await team.push("outside/app", "same", files={"layer": b"known to both" * 99})
    before = (await team.api("GET", "/repositories/outside%2Fapp", "oscar")).json()
    tag = (await team.api("GET", "/repositories/outside%2Fapp/tags/same", "oscar")).json()
    await team.push("acme/copy", "same", files={"layer": b"known to both" * 99})
    assert (await team.api("GET", "/repositories/outside%2Fapp", "oscar")).json() == before
    assert (await team.api("GET", "/repositories/outside%2Fapp/tags/same", "oscar")).json() == tag
    seen = (await team.api("GET", "/repositories/outside%2Fapp/tags/same", "root")).json()
    assert seen["shared_bytes"] > tag["shared_bytes"]


async def test_a_narrow_token_of_an_admin_lists_no_deleted_projects(team: Registry) -> None:
    root = await team.services.catalog.read(_account, "root")
    narrow = await team.token(root, repositories=["open/**"])
    await team.api("DELETE", "/projects/acme", "root")
    headers = {"Authorization": f"Bearer {narrow}"}
    answer = await team.client.get("/api/v1/undo", headers=headers)
    assert "acme" not in answer.text
    wide = await team.api("GET", "/undo", "root")
    assert "acme" in wide.text


async def test_a_token_for_one_repository_searches_no_other(team: Registry) -> None:
    """Search goes by what its caller may see; a bearer token is for less than its owner."""
    await team.push("acme/other", "v1")
    token = await team.bearer("repository:acme/app:pull", "owner")
    found = (await team.client.get("/v1/search?q=", headers={"Authorization": f"Bearer {token}"})).json()[
        "results"
    ]
    assert [row["name"] for row in found] == ["acme/app"]
    token = await team.bearer("registry:catalog:*", "owner")
    listed = await team.client.get("/v2/_catalog", headers={"Authorization": f"Bearer {token}"})
    assert {"acme/app", "acme/other"} <= set(listed.json()["repositories"])


async def test_who_sees_a_part_of_a_project_is_not_told_how_much_the_rest_is(team: Registry) -> None:
    acme = (await team.services.catalog.read(_project, "acme")).id
    await team.grant(await team.user("paula"), acme, "viewer", repositories="acme/app")
    before = (await team.api("GET", "/projects/acme", "paula")).json()
    await team.push("acme/hidden", "v1", files={"large": b"x" * 100_000})
    for path in ("/projects/acme", "/projects"):
        assert (await team.api("GET", path, "viewer")).json() != before
    assert (await team.api("GET", "/projects/acme", "paula")).json() == before
    listed = (await team.api("GET", "/projects", "paula")).json()["items"]
    assert before in listed
    assert (await team.call("GET", "/projects", "paula")).status_code in {200, 302, 303}


@pytest.mark.parametrize("who", ["stranger", "acme+ci", None], ids=str)
async def test_a_hidden_repository_answers_as_an_absent_one(team: Registry, who: str | None) -> None:
    """A4: over every way to ask, the same status, body and challenge but for the name."""
    secret = await team.project("secret")
    assert secret
    image = await team.push("secret/app", "v1")
    blob = next(iter(image.blobs))
    paths = [
        "/v2/{r}/manifests/v1",
        f"/v2/{{r}}/manifests/{image.digest}",
        "/v2/{r}/manifests/v1?at=2030-01-01",
        f"/v2/{{r}}/blobs/{blob}",
        f"/v2/{{r}}/referrers/{image.digest}",
        "/v2/{r}/tags/list",
        "/api/v1/repositories/{e}",
        "/api/v1/repositories/{e}/tags",
        "/api/v1/repositories/{e}/tags/v1/history",
        "/api/v1/undo?repository={r}",
        "/api/v1/repositories?project={p}",
        "/api/v1/search?q={r}",
        "/v1/search?q={r}",
        "/token?scope=repository:{r}:pull,push",
        "/repositories/{e}",
        "/projects/{p}",
    ]
    for path in paths:
        answers = []
        for name in ("secret/app", "absent/ap"):
            asked = path.format(r=name, e=name.replace("/", "%2F"), p=name.partition("/")[0])
            answer = await team.call("GET", asked, who)
            if asked.startswith("/token"):
                body: Any = len(answer.text)
            else:
                body = answer.text.replace("absent/ap", "secret/app").replace("absent", "secret")
                body = re.sub(r"Request <code>[^<]*", "", body)
                body = body.replace("absent%2Fap", "secret%2Fapp").replace('secret%2Fap"', 'secret%2Fapp"')
            headers = {k: v for k, v in answer.headers.items() if k in {"content-type", "cache-control"}}
            answers.append((answer.status_code, headers, body))
        if path.startswith("/token"):
            assert abs(answers[0][2] - answers[1][2]) <= 4, path
            continue
        assert answers[0] == answers[1], path
    for method, path in (
        ("POST", "/v2/{r}/blobs/uploads/"),
        ("PUT", "/v2/{r}/manifests/v1"),
        ("DELETE", "/v2/{r}/manifests/v1"),
        ("PUT", "/api/v1/repositories/{e}/star"),
    ):
        codes = {
            (
                await team.call(method, path.format(r=n, e=n.replace("/", "%2F")), who, content=b"{}")
            ).status_code
            for n in ("secret/app", "absent/ap")
        }
        assert len(codes) == 1, path


async def test_bytes_of_a_hidden_repository_come_through_no_other(team: Registry) -> None:
    """A5: mounts with and without a source, manifests that name its blobs, and the auditor's eyes."""
    secret = await team.push("acme/app", "v2", files={"only": b"here"})
    blob = max(secret.blobs)
    own = await team.project("own")
    await team.grant(await team.user("mallory"), own, "owner")
    for query in (f"mount={blob}&from=acme/app", f"mount={blob}"):
        answer = await team.call("POST", f"/v2/own/app/blobs/uploads/?{query}", "mallory")
        assert answer.status_code == 202
    stolen = await team.call(
        "PUT", "/v2/own/app/manifests/v1", "mallory", content=secret.manifest,
        headers={"content-type": secret.media_type},
    )  # fmt: skip
    assert (stolen.status_code, stolen.json()["errors"][0]["code"]) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert (await team.call("GET", f"/v2/own/app/blobs/{blob}", "mallory")).status_code == 404
    upload = (await team.call("POST", "/v2/acme/app/blobs/uploads/", "developer")).headers["location"]
    moved = upload.replace("acme/app", "own/app")
    assert (await team.call("GET", moved, "mallory")).status_code == 404
    assert (await team.call("POST", f"/v2/own/app/blobs/uploads/?mount={blob}", "auditor")).status_code == 403


async def test_a_repository_made_again_is_closed_to_old_tokens(team: Registry) -> None:
    """A2: also within the five minutes of a token's life, and for uploads begun before."""
    old = {"Authorization": f"Bearer {await team.bearer('repository:acme/app:pull,push', 'developer')}"}
    begun = (await team.client.post("/v2/acme/app/blobs/uploads/", headers=old)).headers["location"]
    upload = (await team.client.patch(begun, headers=old, content=b"theirs")).headers["location"]
    await team.api("DELETE", "/repositories/acme%2Fapp", "owner")
    await team.push("acme/app", "v1")
    assert (await team.client.get("/v2/acme/app/manifests/v1", headers=old)).status_code == 401
    assert (await team.client.get(upload, headers=old)).status_code == 401
    assert (await team.call("GET", upload, "developer")).status_code == 404


async def test_nothing_of_a_disabled_user_works_again_when_they_are_enabled(team: Registry) -> None:
    token = {"Authorization": f"Bearer {await team.bearer('repository:acme/app:pull', 'viewer')}"}
    refresh = (await team.client.get("/token?offline_token=true", auth=("viewer", PASSWORD))).json()[
        "refresh_token"
    ]
    signed_in = await team.client.post("/api/v1/session", json={"name": "viewer", "password": PASSWORD})
    cookie = {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
    team.client.cookies.clear()

    async def works() -> list[int]:
        form = {"grant_type": "refresh_token", "refresh_token": refresh, "service": "registry.test"}
        return [
            (await team.client.get("/v2/acme/app/tags/list", headers=token)).status_code,
            (await team.client.post("/token", data=form)).status_code,
            (await team.client.get("/api/v1/self", headers=cookie)).status_code,
            (await team.client.get("/api/v1/self", auth=("viewer", PASSWORD))).status_code,
        ]

    assert await works() == [200, 200, 200, 200]
    await team.api("PATCH", "/users/viewer", "root", json={"enabled": False})
    assert await works() == [401, 401, 401, 401]
    await team.api("PATCH", "/users/viewer", "root", json={"enabled": True})
    assert await works() == [401, 401, 401, 200]


async def test_signing_in_never_keeps_a_session_that_was_there(team: Registry) -> None:
    """Session fixation: a cookie somebody planted is not the one that is signed in."""
    planted = "ent_ses_" + "A" * 43
    answer = await team.client.post(
        "/api/v1/session",
        json={"name": "viewer", "password": PASSWORD},
        headers={"Cookie": f"entrepot-session={planted}"},
    )
    value = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert value != planted
    team.client.cookies.clear()
    cookie = {"Cookie": f"entrepot-session={planted}"}
    assert (await team.client.get("/api/v1/self", headers=cookie)).status_code == 401


async def test_the_auditor_reads_everything_and_changes_nothing(team: Registry) -> None:
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "auditor")).status_code == 200
    body = {"name": "x", "password": PASSWORD}
    for method, path, json in (
        ("POST", "/users", body),
        ("DELETE", "/repositories/acme%2Fapp", None),
        ("PATCH", "/repositories/acme%2Fapp", {"description": "x"}),
        ("POST", "/projects/acme/grants", {"role": "owner", "principal": "auditor"}),
        ("PATCH", "/settings", {"read_only": True}),
        ("POST", "/repositories/acme%2Fapp/tags/v1/restore", {}),
    ):
        answer = await team.api(method, path, "auditor", **({"json": json} if json is not None else {}))
        assert answer.status_code == 403, path
    sources = await team.api("GET", "/sources", "auditor")
    assert "secret" not in sources.text


async def test_a_personal_token_makes_no_credential_that_outlives_it(team: Registry) -> None:
    viewer = await team.services.catalog.read(_account, "viewer")
    pat = {"Authorization": f"Bearer {await team.token(viewer)}"}
    made = await team.client.post("/api/v1/self/tokens", headers=pat, json={"name": "more"})
    assert made.status_code == 403
    secret = pat["Authorization"].partition(" ")[2]
    token = (await team.client.get("/token?offline_token=true", auth=("viewer", secret))).json()
    assert "refresh_token" not in token


def _account(connection: Any, name: str) -> Any:
    from entrepot.server.access.directory.accounts import get_account

    return get_account(connection, name)


def _project(connection: Any, name: str) -> Any:
    from entrepot.server.access.directory.projects import get_project

    return get_project(connection, name)


async def test_link_of_the_first_start_is_worth_nothing_beside_another_admin(registry: Registry) -> None:
    """It made its holder an admin for a day, also when the admin had been made on the command line."""
    body = {"token": registry.setup, "password": "a fine long password"}
    answer = await registry.api("POST", "/setup", json=body)
    assert (answer.status_code, "there is one by now" in answer.text) == (401, True)
    assert (await registry.client.get("/api/v1/users", auth=("admin", body["password"]))).status_code == 401


async def test_robot_gets_no_tags_that_its_maker_has_not(team: Registry) -> None:
    """A maintainer for `v*` made a robot for every tag, and restored tags beside `v*`."""
    acme = await team.services.catalog.read(lambda c: get_project(c, "acme").id)
    await team.grant(await team.user("mia"), acme, "maintainer", tags="v*")
    make = "/projects/acme/robots"
    for tags, status in ((None, 403), ("*", 403), ("*1", 403), ("v1*", 201)):
        body = {"name": "x", "role": "maintainer", "tags": tags}
        assert (await team.api("POST", make, "mia", json=body)).status_code == status
    assert (await team.api("POST", f"{make}/acme+ci/secret", "mia", json={})).status_code == 403
    assert (await team.api("POST", f"{make}/acme+x/secret", "mia", json={})).status_code == 200
    await team.push("acme/app", "latest")
    await team.api("DELETE", "/repositories/acme%2Fapp/tags/latest", "root")
    back = "/repositories/acme%2Fapp/tags/latest/restore"
    assert (await team.api("POST", back, "mia", json={})).status_code == 403


async def test_secret_of_a_robot_that_has_more_through_a_team_is_not_for_less(team: Registry) -> None:
    acme = await team.services.catalog.read(lambda c: get_project(c, "acme").id)
    owners = await team.write(create_team, name="owners")
    await team.write(add_grant, project_id=acme, role_name="owner", team_id=owners.id)
    robot = await team.services.catalog.read(lambda c: get_account(c, "acme+ci"))
    await team.write(add_member, owners, robot.id, robot.name)
    for who, status in (("maintainer", 403), ("owner", 200)):
        answer = await team.api("POST", "/projects/acme/robots/acme+ci/secret", who, json={})
        assert answer.status_code == status


async def test_nobody_gives_a_role_they_do_not_have(team: Registry) -> None:
    acme = await team.services.catalog.read(lambda c: get_project(c, "acme").id)
    actions = ["read", "pull", "read-members", "manage-members"]
    await team.api("POST", "/roles", "root", json={"name": "people", "actions": actions})
    await team.grant(await team.user("hr"), acme, "people")
    for role, status in (("owner", 403), ("developer", 403), ("puller", 201)):
        body = {"principal": "stranger", "role": role}
        assert (await team.api("POST", "/projects/acme/grants", "hr", json=body)).status_code == status


async def test_robot_goes_with_its_project(team: Registry) -> None:
    """Its secret went on working elsewhere, and in a new project of that name once that gave it a role."""
    beta = await team.project("beta")
    robot = await team.services.catalog.read(lambda c: get_account(c, "acme+ci"))
    await team.grant(robot, beta, "developer")
    await team.push("beta/app", "v1")
    assert (await team.call("GET", "/v2/beta/app/manifests/v1", "acme+ci")).status_code == 200
    await team.api("DELETE", "/projects/acme", "root")
    assert (await team.call("GET", "/v2/beta/app/manifests/v1", "acme+ci")).status_code == 401
    await team.api("POST", "/projects/acme/restore", "root")
    assert (await team.call("GET", "/v2/beta/app/manifests/v1", "acme+ci")).status_code == 200
    await team.api("DELETE", "/projects/acme", "root")
    await team.user("newcomer", may_create_projects=True)
    await team.api("POST", "/projects", "newcomer", json={"name": "acme"})
    made = await team.api("POST", "/projects/acme/robots", "newcomer", json={"name": "ci", "role": "puller"})
    assert made.status_code == 201
    await team.push("acme/app", "v1", who="newcomer")
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "acme+ci")).status_code == 401
    team.secrets["acme+ci"] = made.json()["secret"]
    assert (await team.call("GET", "/v2/acme/app/manifests/v1", "acme+ci")).status_code == 200
    assert (await team.call("GET", "/v2/beta/app/manifests/v1", "acme+ci")).status_code == 403


async def test_page_of_a_robot_names_no_other_project(team: Registry) -> None:
    merger = await team.project("secret-merger")
    robot = await team.services.catalog.read(lambda c: get_account(c, "acme+ci"))
    await team.grant(robot, merger, "puller")
    for who, told in (("developer", False), ("root", True)):
        shown = await team.call("GET", "/projects/acme/robots/acme+ci", who)
        assert (shown.status_code, "secret-merger" in shown.text) == (200, told)


async def test_methods_somebody_made_up_are_counted_together(team: Registry) -> None:
    before = len(team.services.metrics.requests.counts)
    for number in range(20):
        for path in ("/", "/token", "/healthz"):
            await team.call(f"M{number}", path)
    assert len(team.services.metrics.requests.counts) < before + 10


@pytest.mark.parametrize("until", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
async def test_time_without_a_year_spoils_no_list(team: Registry, until: str) -> None:
    """The robot was made, and neither its project's nor the registry's robots could be listed any more."""
    body = {"name": "never", "expires_at": until}
    assert (await team.api("POST", "/projects/acme/robots", "maintainer", json=body)).status_code == 400
    assert (await team.api("GET", "/projects/acme/robots", "maintainer")).status_code == 200
    assert (await team.api("GET", "/robots", "root")).status_code == 200


async def test_configuration_nested_too_deeply_spoils_no_page(team: Registry) -> None:
    config = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    digest = "sha256:" + hashlib.sha256(config).hexdigest()
    await team.call("POST", f"/v2/acme/app/blobs/uploads/?digest={digest}", "developer", content=config)
    kind = "application/vnd.oci.image.manifest.v1+json"
    about = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest, "size": len(config)}
    answer = await team.call(
        "PUT",
        "/v2/acme/app/manifests/deep",
        "developer",
        json={"schemaVersion": 2, "mediaType": kind, "config": about, "layers": []},
        headers={"content-type": kind},
    )
    assert answer.status_code == 201
    for page in ("/repositories/acme/app", "/repositories/acme/app/-/tags/deep"):
        assert (
            await team.call("GET", page, "viewer" if page.endswith("app") else "puller")
        ).status_code == 200
    headers = {"content-type": "application/json"}
    answer = await team.api("POST", "/session", content=b'{"name":' + b"[" * 60_000, headers=headers)
    assert answer.status_code == 400


async def test_list_of_tags_reads_no_large_manifest_for_each(team: Registry) -> None:
    """Every tag may point to the same one of four megabytes."""
    made = await team.push("acme/app", "v1")
    large = made.manifest + b" " * 200_000
    names = "&".join(f"tag=t{number}" for number in range(20))
    digest = "sha256:" + hashlib.sha256(large).hexdigest()
    path = f"/v2/acme/app/manifests/{digest}?{names}"
    answer = await team.call("PUT", path, "root", content=large, headers={"content-type": made.media_type})
    assert answer.status_code == 201
    rows = await team.services.catalog.read(lambda c: list_tags(c, get_repository(c, "acme/app").id, n=100))
    assert sum(len(row.body) for row in rows) < 200_000


async def test_answers_of_the_api_are_kept_by_no_cache(team: Registry) -> None:
    for path in ("/session", "/self", "/repositories"):
        assert (await team.api("GET", path, "owner")).headers["cache-control"] == "no-store"


async def test_number_that_no_row_can_have_is_refused(team: Registry) -> None:
    for path in (f"grants/{10**30}", f"robots/acme+ci/trusts/{10**30}"):
        assert (await team.api("DELETE", f"/projects/acme/{path}", "owner")).status_code == 400
