"""Who learns of which people and teams, and what a token may not do in its owner's name."""

from typing import Any

import pytest

from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.directory.grants import add_grant
from entrepot.server.access.directory.projects import get_project
from entrepot.server.access.directory.teams import add_member, create_team
from tests.unit.server.api.conftest import BASE, PASSWORD, Registry
from tests.unit.server.pages.conftest import visit, words

pytestmark = pytest.mark.anyio


@pytest.fixture
async def people(team: Registry) -> Registry:
    """Team `devs` works in acme, `ops` in another project, `mine` nowhere; stranger is in `mine`."""
    acme = await team.services.catalog.read(lambda c: get_project(c, "acme").id)
    other = await team.project("other")
    await team.user("dan")
    for name, project, member in (
        ("devs", acme, "dan"),
        ("ops", other, "auditor"),
        ("mine", None, "stranger"),
    ):
        made = await team.write(create_team, name=name)
        account = await team.services.catalog.read(get_account, member)
        await team.write(add_member, made, account.id, member)
        if project is not None:
            await team.write(add_grant, project_id=project, role_name="developer", team_id=made.id)
    return team


@pytest.mark.parametrize(
    ("who", "named", "with_members"),
    [
        ("viewer", [], []),
        ("developer", ["devs"], ["devs"]),
        ("dan", ["devs"], ["devs"]),
        ("stranger", ["mine"], ["mine"]),
        ("maintainer", ["devs"], ["devs"]),
        ("owner", ["devs", "mine", "ops"], ["devs"]),
        ("auditor", ["devs", "mine", "ops"], ["devs", "mine", "ops"]),
        ("root", ["devs", "mine", "ops"], ["devs", "mine", "ops"]),
    ],
)
async def test_teams_are_shown_to_who_works_with_them(
    people: Registry, who: str, named: list[str], with_members: list[str]
) -> None:
    listed = (await people.api("GET", "/teams", who)).json()["items"]
    assert [row["name"] for row in listed] == named
    for name in ("devs", "mine", "ops", "absent"):
        shown = await people.api("GET", f"/teams/{name}", who)
        assert shown.status_code == (200 if name in named else 404)
        members = await people.api("GET", f"/teams/{name}/members", who)
        assert members.status_code == (200 if name in with_members else 404)
    hidden = await people.api("GET", "/teams/ops/members", "developer")
    absent = await people.api("GET", "/teams/absent/members", "developer")
    assert hidden.json()["title"].replace("ops", "absent") == absent.json()["title"]


async def test_robots_see_no_people(people: Registry) -> None:
    """A robot that pushes listed every team of the registry, and who is in it."""
    paths = ["/teams", "/teams/devs", "/teams/devs/members", "/projects/acme/grants", "/projects/acme/robots"]
    for path in (*paths, "/explain?user=dan&action=pull&repository=acme/app"):
        assert (await people.api("GET", path, "acme+ci")).status_code == 403, path
    assert (await people.call("GET", "/projects/acme/members", "acme+ci")).status_code == 403
    made = {"name": "boss", "role": "owner"}
    boss = await people.api("POST", "/projects/acme/robots", "owner", json=made)
    people.secrets["acme+boss"] = boss.json()["secret"]
    assert (await people.api("GET", "/projects/acme/grants", "acme+boss")).status_code == 200
    assert (await people.api("GET", "/teams", "acme+boss")).status_code == 403


async def test_explain_tells_members_of_members_alone(people: Registry) -> None:
    """It said who has an account, and who is an admin."""
    ask = "/explain?action=delete-project&repository=acme/app&user="
    answers = [await people.api("GET", ask + name, "developer") for name in ("root", "stranger", "nobody-is")]
    assert [answer.status_code for answer in answers] == [404, 404, 404]
    words = [
        answer.json()["title"].replace(name, "X")
        for answer, name in zip(answers, ("root", "stranger", "nobody-is"), strict=True)
    ]
    assert len(set(words)) == 1
    told = (await people.api("GET", ask + "dan", "developer")).json()
    assert (told["allowed"], "by the project's grants alone" in told["steps"]) == (False, True)
    seen = (await people.api("GET", ask + "root", "auditor")).json()
    assert (seen["allowed"], "system role: admin" in seen["steps"]) == (True, True)


async def test_explain_does_not_say_that_a_member_is_an_admin(people: Registry) -> None:
    acme = await people.services.catalog.read(lambda c: get_project(c, "acme").id)
    await people.grant(await people.services.catalog.read(get_account, "root"), acme, "puller")
    ask = "/explain?repository=acme/app&user=root&action="
    told = await people.api("GET", ask + "delete-project", "developer")
    assert (told.json()["allowed"], "admin" in told.text) == (False, False)
    assert (await people.api("GET", ask + "pull", "developer")).json()["allowed"] is True


async def test_token_of_an_admin_makes_nobody_who_outlives_it(people: Registry) -> None:
    """It made set-up links, and so the password of any admin."""
    root = await people.services.catalog.read(get_account, "root")
    token = await people.token(root)
    source: dict[str, Any] = {"name": "corp", "kind": "htpasswd", "settings": {"path": "/nowhere"}}
    tried = (
        ("POST", "/api/v1/users/owner/setup-link", {}),
        ("POST", "/api/v1/users", {"name": "eve", "password": PASSWORD}),
        ("POST", "/api/v1/users", {"name": "eve", "system_role": "admin"}),
        ("PATCH", "/api/v1/users/owner", {"system_role": "admin"}),
        ("POST", "/api/v1/sources", source),
        ("PATCH", "/api/v1/sources/corp", {"enabled": True}),
    )
    for how in ({"headers": {"Authorization": f"Bearer {token}"}}, {"auth": ("root", token)}):
        for method, path, body in tried:
            answer = await people.client.request(method, path, json=body, **how)  # type: ignore[arg-type]
            assert (answer.status_code, "with a password" in answer.text) == (403, True), path
    headers = {"Authorization": f"Bearer {token}"}
    made = await people.client.post("/api/v1/users", headers=headers, json={"name": "plain"})
    assert made.status_code == 201
    changed = await people.client.patch("/api/v1/users/plain", headers=headers, json={"enabled": False})
    assert changed.status_code == 200
    assert (await people.api("POST", "/users/owner/setup-link", "root", json={})).status_code == 200
    assert (
        await people.api("PATCH", "/users/owner", "root", json={"system_role": "admin"})
    ).status_code == 200


@pytest.mark.parametrize("path", ["/admin/users/owner/link", "/admin/users", "/admin/sources"])
async def test_pages_ask_for_the_admin_in_person_too(people: Registry, path: str) -> None:
    root = await people.services.catalog.read(get_account, "root")
    token = await people.token(root)
    person = await visit(people, None)
    form = {"_csrf": person.token, "name": "eve", "kind": "htpasswd"}
    headers = {"origin": BASE, **person.cookies()}
    answer = await people.client.post(path, data=form, auth=("root", token), headers=headers)
    assert (answer.status_code, "Sign in with a password to do this" in words(answer)) == (403, True)
