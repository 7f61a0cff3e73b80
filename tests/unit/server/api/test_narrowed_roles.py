"""A role narrowed to tags reaches no other tag, by whatever way that is asked for."""

import base64
import hashlib
import json
from typing import Any

import pytest

from entrepot.server.access.decision.model import EVERY_TAG, PROJECT_ACTIONS, Action
from entrepot.server.access.decision.patterns import TagPattern
from entrepot.server.access.decision.policy import fits_tags
from tests.support.images import Image
from tests.unit.server.api.conftest import Registry
from tests.unit.server.pages.conftest import visit

pytestmark = pytest.mark.anyio

INDEX = "application/vnd.oci.image.index.v1+json"
REPOSITORY = "/repositories/acme%2Fapp"


@pytest.fixture
async def narrow(team: Registry) -> Registry:
    """mia is maintainer, olga owner, for `v*`; `v1` and `latest` are there."""
    acme = await team.services.catalog.read(_project)
    await team.grant(await team.user("mia"), acme, "maintainer", tags="v*")
    await team.grant(await team.user("olga"), acme, "owner", tags="v*")
    await team.push("acme/app", "latest", files={"of": b"latest"})
    return team


def _project(connection: Any) -> int:
    from entrepot.server.access.directory.projects import get_project

    return get_project(connection, "acme").id


async def tags(registry: Registry) -> list[str]:
    return list((await registry.call("GET", "/v2/acme/app/tags/list", "owner")).json()["tags"])


async def put(registry: Registry, reference: str, image: Image, who: str = "root") -> int:
    answer = await registry.call(
        "PUT",
        f"/v2/acme/app/manifests/{reference}",
        who,
        content=image.manifest,
        headers={"content-type": image.media_type},
    )
    return answer.status_code


def test_each_action_of_a_role_is_decided_for_narrowed_grants() -> None:
    """A new action is for nobody narrowed until somebody has thought about it."""
    v = TagPattern("v*")
    whatever = {a.value for a in PROJECT_ACTIONS if fits_tags(v, a, EVERY_TAG)}
    fitting = {a.value for a in PROJECT_ACTIONS if fits_tags(v, a, "v1")} - whatever
    assert whatever == {"read", "pull", "push", "create-repository", "read-members", "read-audit"}
    assert fitting == {
        "create-tag",
        "overwrite-tag",
        "delete-tag",
        "delete-manifest",
        "restore",
        "manage-robots",
    }
    assert {a for a in PROJECT_ACTIONS if fits_tags(v, a, "latest")} == {Action(one) for one in whatever}
    assert {a for a in PROJECT_ACTIONS if fits_tags(v, a, None)} == {Action(a) for a in whatever | fitting}
    assert all(fits_tags(TagPattern("*"), a, tag) for a in PROJECT_ACTIONS for tag in ("x", EVERY_TAG, None))
    assert all(fits_tags(None, a, tag) for a in PROJECT_ACTIONS for tag in ("x", EVERY_TAG, None))


async def test_blob_of_another_tag_stays(narrow: Registry) -> None:
    image = await narrow.push("acme/app", "latest", files={"of": b"latest"})
    for blob in image.blobs:
        answer = await narrow.call("DELETE", f"/v2/acme/app/blobs/{blob}", "mia")
        assert (answer.status_code, "for tags v* alone" in answer.text) == (403, True)
        assert (await narrow.call("DELETE", f"/v2/acme/app/blobs/{blob}", "maintainer")).status_code == 202


@pytest.mark.parametrize("who", ["mia", "olga"])
async def test_repository_and_project_are_more_than_some_tags(narrow: Registry, who: str) -> None:
    people = await narrow.api("GET", "/projects/acme/grants", "owner")
    grants = {row["principal"]: row["id"] for row in people.json()["items"]}
    for method, path, body in (
        ("DELETE", REPOSITORY, None),
        ("PATCH", REPOSITORY, {"description": "mine"}),
        ("DELETE", "/projects/acme", None),
        ("PATCH", "/projects/acme", {"visibility": "public"}),
        ("POST", "/projects/acme/grants", {"principal": "stranger", "role": "puller"}),
        ("POST", "/projects/acme/grants", {"principal": "stranger", "role": "puller", "tags": "v*"}),
        ("DELETE", f"/projects/acme/grants/{grants['viewer']}", None),
    ):
        answer = await narrow.api(method, path, who, **({"json": body} if body else {}))
        assert answer.status_code == 403, (method, path)
    await narrow.api("DELETE", REPOSITORY, "root")
    assert (await narrow.api("POST", f"{REPOSITORY}/restore", who, json={})).status_code == 403
    assert (await narrow.api("POST", f"{REPOSITORY}/restore", "maintainer", json={})).status_code == 200


async def test_tags_go_one_by_one_or_chosen_only_where_they_fit(narrow: Registry) -> None:
    await narrow.push("acme/app", "v2")
    for way in ("/v2/acme/app/manifests/", f"/api/v1{REPOSITORY}/tags/"):
        assert (await narrow.call("DELETE", f"{way}latest", "mia")).status_code == 403
    mia = await visit(narrow, "mia")
    page = "/repositories/acme%2Fapp/-/delete-tags"
    assert (await mia.post(page, tag=["v1", "latest"])).status_code == 403
    assert await tags(narrow) == ["latest", "v1", "v2"]
    assert (await mia.post(page, tag=["v1"])).status_code == 303
    assert (await narrow.call("DELETE", "/v2/acme/app/manifests/v2", "mia")).status_code == 202
    assert await tags(narrow) == ["latest"]


@pytest.mark.parametrize("way", ["/v2/acme/app/manifests/", f"/api/v1{REPOSITORY}/manifests/"])
async def test_manifest_goes_by_the_tags_on_it(narrow: Registry, way: str) -> None:
    both = await narrow.push("acme/app", "v3", files={"on": b"two tags"})
    assert await put(narrow, "latest", both) == 201
    assert (await narrow.call("DELETE", f"{way}{both.digest}", "mia")).status_code == 403
    await narrow.api("DELETE", f"{REPOSITORY}/tags/latest", "root")
    assert (await narrow.call("DELETE", f"{way}{both.digest}", "mia")).status_code in {202, 204}
    untagged = await narrow.push("acme/app", "v4", files={"no": b"tag"})
    await narrow.api("DELETE", f"{REPOSITORY}/tags/v4", "root")
    assert (await narrow.call("DELETE", f"{way}{untagged.digest}", "mia")).status_code == 403
    assert (await narrow.call("DELETE", f"{way}{untagged.digest}", "maintainer")).status_code in {202, 204}


async def test_part_of_an_index_is_not_deleted_by_its_own_tag(narrow: Registry) -> None:
    """Whatever `latest` needs could be given a fitting tag and then be deleted."""
    part = await narrow.push("acme/app", "v5", files={"part": b"of latest"})
    child = {"mediaType": part.media_type, "digest": part.digest, "size": len(part.manifest)}
    index = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [child]}).encode()
    answer = await narrow.call(
        "PUT", "/v2/acme/app/manifests/latest", "root", content=index, headers={"content-type": INDEX}
    )
    assert answer.status_code == 201
    path = f"/v2/acme/app/manifests/{part.digest}"
    assert (await narrow.call("DELETE", path, "mia")).status_code == 403
    digest = "sha256:" + hashlib.sha256(index).hexdigest()
    await narrow.call("DELETE", f"/v2/acme/app/manifests/{digest}", "root")
    assert (await narrow.call("DELETE", path, "mia")).status_code == 202


async def test_restoring_asks_for_the_tag(narrow: Registry) -> None:
    before = (await narrow.call("GET", "/v2/acme/app/manifests/v1", "mia")).headers["docker-content-digest"]
    await narrow.push("acme/app", "v1", files={"another": b"content"})
    for name, status in (("v1", 200), ("latest", 403), ("fresh", 403)):
        answer = await narrow.api("POST", f"{REPOSITORY}/tags/{name}/restore", "mia", json={"digest": before})
        assert answer.status_code == status
    mia = await visit(narrow, "mia")
    await narrow.api("DELETE", f"{REPOSITORY}/tags/latest", "root")
    form = {"tag": "latest", "digest": before}
    page = "/repositories/acme%2Fapp/-/restore-tag"
    assert (await mia.post(page, **form)).status_code == 404  # it never was that
    assert await tags(narrow) == ["v1"]


async def test_what_was_deleted_comes_back_only_as_what_it_was(narrow: Registry) -> None:
    """`v9` would have brought back what somebody deleted as `latest`."""
    gone = (await narrow.call("GET", "/v2/acme/app/manifests/latest", "mia")).headers["docker-content-digest"]
    await narrow.call("DELETE", f"/v2/acme/app/manifests/{gone}", "root")
    path = f"{REPOSITORY}/tags/v9/restore"
    assert (await narrow.api("POST", path, "mia", json={"digest": gone})).status_code == 403
    assert (await narrow.call("GET", f"/v2/acme/app/manifests/{gone}", "owner")).status_code == 404
    assert (await narrow.api("POST", path, "maintainer", json={"digest": gone})).status_code == 200


@pytest.mark.parametrize(
    ("actions", "fresh", "other", "same"),
    [
        (["read", "pull", "restore"], 403, 403, 200),
        (["read", "pull", "restore", "create-tag"], 200, 403, 200),
        (["read", "pull", "restore", "overwrite-tag"], 403, 200, 200),
    ],
)
async def test_restoring_makes_and_moves_tags_only_for_who_may(
    team: Registry, actions: list[str], fresh: int, other: int, same: int
) -> None:
    """`restore` alone made any tag, and pointed any tag to anything."""
    acme = await team.services.catalog.read(_project)
    await team.api("POST", "/roles", "root", json={"name": "keeper", "actions": actions})
    await team.grant(await team.user("kim"), acme, "keeper")
    first = (await team.call("GET", "/v2/acme/app/manifests/v1", "kim")).headers["docker-content-digest"]
    await team.push("acme/app", "v2", files={"second": b"content"})
    for name, status in (("fresh", fresh), ("v2", other), ("v1", same)):
        answer = await team.api("POST", f"{REPOSITORY}/tags/{name}/restore", "kim", json={"digest": first})
        assert answer.status_code == status, name
        await team.api("POST", f"{REPOSITORY}/tags/{name}/restore", "root", json={})


async def test_robots_with_other_tags_are_left_alone(narrow: Registry) -> None:
    """A maintainer for `v*` ended the project's robots."""
    robots = "/projects/acme/robots"
    trusted = await narrow.api(
        "POST",
        f"{robots}/acme+ci/trusts",
        "root",
        json={"issuer": "https://gitlab.com", "claims": {"project_path": "acme/app"}},
    )
    assert trusted.status_code == 201
    rule = trusted.json()["id"]
    mine = {"name": "mine", "role": "developer", "tags": "v1*"}
    assert (await narrow.api("POST", robots, "mia", json=mine)).status_code == 201
    patch = {"json": {"enabled": False}}
    assert (await narrow.api("PATCH", f"{robots}/acme+ci", "mia", **patch)).status_code == 403
    assert (await narrow.api("DELETE", f"{robots}/acme+ci/trusts/{rule}", "mia")).status_code == 403
    assert (await narrow.api("DELETE", f"{robots}/acme+ci", "mia")).status_code == 403
    mia = await visit(narrow, "mia")
    assert (await mia.post(f"{robots}/acme+ci", description="x")).status_code == 403
    assert (await mia.post(f"{robots}/acme+ci/delete", confirm="acme+ci")).status_code == 403
    assert (await mia.post(f"{robots}/acme+ci/trusts/remove", rule=str(rule))).status_code == 403
    assert (await narrow.api("PATCH", f"{robots}/acme+mine", "mia", **patch)).status_code == 200
    assert (await narrow.api("DELETE", f"{robots}/acme+mine", "mia")).status_code == 204
    listed = (await narrow.api("GET", robots, "owner")).json()["items"]
    assert [(r["name"], r["enabled"]) for r in listed] == [("acme+ci", True)]


async def test_pushing_to_fitting_tags_needs_nothing_more(narrow: Registry) -> None:
    await narrow.push("acme/fresh", "v1", who="mia")
    pushed = await narrow.push("acme/app", "v7", who="mia", files={"seven": b"7"})
    assert await put(narrow, "latest", pushed, "mia") == 403


async def test_another_registry_that_knows_no_tags_is_not_told_push_or_delete(narrow: Registry) -> None:
    async def held(who: str) -> list[Any]:
        asked = {"service": "docker.test", "scope": "repository:acme/app:pull,push,delete"}
        token = (await narrow.client.get("/token", params=asked, auth=narrow.auth(who))).json()["token"]
        part = token.split(".")[1]
        return list(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))["access"])

    assert [scope["actions"] for scope in await held("mia")] == [["pull"]]
    assert [scope["actions"] for scope in await held("developer")] == [["pull", "push"]]
    assert [scope["actions"] for scope in await held("maintainer")] == [["delete", "pull", "push"]]


async def test_explain_says_why_a_narrowed_role_does_not_do(narrow: Registry) -> None:
    ask = "/explain?user=mia&repository=acme/app&action="
    whole = (await narrow.api("GET", f"{ask}delete-repository", "mia")).json()
    assert (whole["allowed"], "tags v* (does not fit)" in " ".join(whole["steps"])) == (False, True)
    assert "for tags v* alone" in whole["reason"]
    tagged = (await narrow.api("GET", f"{ask}delete-tag&tag=v1", "mia")).json()
    assert (tagged["allowed"], "tags v* (fits)" in " ".join(tagged["steps"])) == (True, True)
