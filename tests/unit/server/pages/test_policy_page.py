"""The policy of a project, written beside what it would do; a tag's page says what becomes of it."""

import pytest

from entrepot.server.control.policies import show_policy
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR
from tests.unit.server.pages.conftest import visit, words

pytestmark = pytest.mark.anyio

PAGE = "/projects/acme/policy"
TEXT = '[[retention]]\nrest = "delete"\nkeep = [{ always = true, tags = "v*" }]\n'


async def test_it_is_shown_first_and_then_put_in_force(team: Registry) -> None:
    await team.push("acme/app", "nightly", files={"n": b"1"})
    owner = await visit(team, "owner")
    assert "None is in force; this is one to begin with" in words(await owner.get(PAGE))
    shown = await owner.post(PAGE, text=TEXT.replace("\n", "\r\n"), do="preview")
    assert shown.status_code == 200
    assert "1 tag would go, 1 stays" in words(shown)
    assert "app:nightly" in words(shown)
    assert "would wait for a person" in words(shown)
    assert (await show_policy(team.services, OPERATOR, project="acme")).version == 0
    done = await owner.post(PAGE, text=TEXT, do="apply")
    assert done.status_code == 303
    assert (await show_policy(team.services, OPERATOR, project="acme")).text == TEXT
    assert "1 (holds)" in words(await owner.get(PAGE))
    tag = words(await owner.get("/repositories/acme/app/-/tags/nightly"))
    assert "goes at the next run: no keep rule saves it" in tag
    tag = words(await owner.get("/repositories/acme/app/-/tags/v1"))
    assert "always kept acme: retention 1, keep 1" in tag


async def test_what_is_wrong_stands_beside_the_rules(team: Registry) -> None:
    owner = await visit(team, "owner")
    wrong = await owner.post(PAGE, text='[[immutable]]\ntags = "v["\n', do="apply")
    assert wrong.status_code == 400
    assert "Immutable 1, tags: has the glob" in words(wrong)
    assert (await show_policy(team.services, OPERATOR, project="acme")).version == 0


async def test_the_api_has_the_same(team: Registry) -> None:
    await team.push("acme/app", "nightly", files={"n": b"1"})
    plan = await team.api("POST", "/projects/acme/policy/plan", "owner", json={"text": TEXT})
    assert plan.status_code == 200
    assert [row["tag"] for row in plan.json()["removed"]] == ["nightly"]
    put = await team.api("PUT", "/projects/acme/policy", "owner", json={"text": TEXT})
    assert (put.status_code, put.json()["version"]) == (200, 1)
    assert (await team.api("GET", "/projects/acme/policy", "owner")).json()["changed_by"] == "owner"
    assert (await team.api("GET", "/retention/runs", "root")).json() == []
    wrong = await team.api("PUT", "/policy", "root", json={"text": "quota = 1"})
    assert wrong.status_code == 400
    assert "there is no `quota`" in wrong.text


async def test_a_run_that_waits_goes_on_and_is_taken_back(team: Registry) -> None:
    await team.push("acme/app", "nightly", files={"n": b"1"})
    root = await visit(team, "root")
    assert (await root.post("/admin/policy", text=TEXT, do="apply")).status_code == 303
    assert (await root.post("/admin/policy/runs", do="run")).status_code == 303
    assert "1: waits for a person, 1 tag would go" in words(await root.get("/admin/policy"))
    assert (await root.post("/admin/policy/runs", do="approve", run="1")).status_code == 303
    assert (await team.call("HEAD", "/v2/acme/app/manifests/nightly", "root")).status_code == 404
    assert "2: 1 tag went" in words(await root.get("/admin/policy"))
    assert (await root.post("/admin/policy/runs", do="undo", run="2")).status_code == 303
    assert (await team.call("HEAD", "/v2/acme/app/manifests/nightly", "root")).status_code == 200
    assert (await root.post("/admin/policy/runs", do="approve", run="x")).status_code == 404
