"""A policy is shown, put in force, run, and taken back."""

from typing import Any

import pytest
from sqlalchemy import select

from entrepot.errors import Conflict
from entrepot.oci.reference import TagName
from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.control.policies import apply_policy, list_policy_versions, plan_policy, show_policy
from entrepot.server.control.retention import (
    list_retention_runs,
    plan_repository,
    plan_retention,
    retention_if_due,
    run_retention,
    undo_retention_run,
)
from entrepot.server.control.tags import delete_tags
from entrepot.server.db.clock import ManualClock
from entrepot.server.db.tables import repo, tag
from entrepot.server.repos.errors import TagImmutable
from tests.support.images import OCI_INDEX, image, index
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import OPERATOR, actor, refused

pytestmark = pytest.mark.anyio

DAY = 24 * 3600
APP = "acme/pkg"
NEWEST_8 = (
    '[[retention]]\nprojects = "acme"\nrepositories = "pkg"\nrest = "delete"\nkeep = [{ newest = 8 }]\n'
)
IMMUTABLE = '[[immutable]]\nprojects = "acme"\ntags = "v*"\nexcept = "v0.*"\n'


@pytest.fixture
async def clock(team: Registry) -> ManualClock:
    found = team.services.catalog.clock
    made = ManualClock(found.now())
    team.services.catalog.clock = made  # type: ignore[misc]
    team.services.manifests._clock = made  # taken from the catalog when it was made
    return made


async def tags(registry: Registry, repository: str = APP) -> dict[str, str]:
    def read(connection: Any) -> dict[str, str]:
        found = select(tag.c.name, tag.c.digest).join(repo, repo.c.id == tag.c.repo_id)
        return {row.name: row.digest for row in connection.execute(found.where(repo.c.name == repository))}

    return await registry.services.catalog.read(read)


async def fill(registry: Registry, clock: ManualClock, number: int = 10) -> None:
    """`v1.0.0` and on, a minute apart, of one image: the digests differ by a space at the end."""
    made = await registry.push(APP, "v1.0.0", files={"n": b"0"})
    for n in range(1, number):
        clock.advance(60)
        answer = await registry.call(
            "PUT",
            f"/v2/{APP}/manifests/v1.0.{n}",
            "root",
            content=made.manifest + b" " * n,
            headers={"content-type": made.media_type},
        )
        assert answer.status_code == 201
    clock.advance(60)


async def apply(registry: Registry, text: str, **more: Any) -> None:
    await apply_policy(registry.services, OPERATOR, text, **more)


async def test_from_the_plan_to_the_run_and_back(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock)
    before = await tags(team)
    services = team.services
    preview = await plan_policy(services, OPERATOR, NEWEST_8)
    assert [row.tag for row in preview.plan.removed] == ["v1.0.0", "v1.0.1"]
    assert preview.plan.waits_for == []
    assert await tags(team) == before
    assert (await show_policy(services, OPERATOR)).version == 0

    await apply(team, NEWEST_8)
    assert (await show_policy(services, OPERATOR)).text == NEWEST_8
    assert [row.tag for row in (await plan_retention(services, OPERATOR)).removed] == ["v1.0.0", "v1.0.1"]
    run, _ = await run_retention(services, OPERATOR)
    assert (run.state, run.removed, run.kept) == ("done", 2, 9)
    assert sorted(before.keys() - (await tags(team)).keys()) == ["v1.0.0", "v1.0.1"]
    again, _ = await run_retention(services, OPERATOR)
    assert (again.state, again.removed) == ("done", 0), "two runs are as one"

    assert await undo_retention_run(services, OPERATOR, run.id) == 2
    assert await tags(team) == before
    assert [one.state for one in await list_retention_runs(services, OPERATOR)] == ["done", "undone"]


async def test_a_plan_that_removes_much_waits_for_a_person(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock, 4)
    before = await tags(team)
    await apply(team, NEWEST_8.replace("8", "2"))
    waiting, _ = await run_retention(team.services, SYSTEM)
    assert waiting.state == "waiting"
    assert "2 of 4 tags of the repository acme/pkg would go, 50 %" in str(waiting.reason)
    assert await tags(team) == before
    await team.push(APP, "v1.0.9", files={"n": b"9"})
    run, _ = await run_retention(team.services, OPERATOR, approve=waiting.id)
    assert run.removed == 2, "what the push displaced was not looked at, and stays"
    assert sorted(await tags(team)) == ["v1.0.2", "v1.0.3", "v1.0.9"]
    with pytest.raises(Conflict, match="does not wait"):
        await run_retention(team.services, OPERATOR, approve=waiting.id)


async def test_what_is_applied_is_what_was_shown(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock)
    text = NEWEST_8.replace("newest = 8", 'pulled-within = "9min"').replace("8", "5")
    await plan_policy(team.services, OPERATOR, text)
    clock.advance(60)
    with pytest.raises(Conflict, match=r"acme/pkg:v1.0.2 would be removed, and was not to be"):
        await apply(team, text)
    await plan_policy(team.services, OPERATOR, text)
    await delete_tags(team.services, OPERATOR, APP, [TagName("v1.0.0")])
    with pytest.raises(Conflict, match=r"acme/pkg:v1.0.0 was to be removed, and is not any more"):
        await apply(team, text)
    await plan_policy(team.services, OPERATOR, text)
    await apply(team, IMMUTABLE)
    with pytest.raises(Conflict, match="somebody else changed the policy meanwhile"):
        await apply(team, text)


async def test_pushes_are_no_reason_to_refuse(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock)
    await plan_policy(team.services, OPERATOR, NEWEST_8)
    await team.push(APP, "v2.0.0", files={"n": b"new"})
    await team.push(APP, "v1.0.5", files={"n": b"other"})
    assert len((await plan_policy(team.services, OPERATOR, NEWEST_8 + "\n")).plan.removed) == 3
    await apply(team, NEWEST_8)


async def test_a_clock_that_jumps_makes_nothing_old(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock, 3)
    await apply(
        team, '[[retention]]\ndelete = [{ older-than = "30d", tags = "**" }]\n[guard]\nmost-removed = "100%"'
    )
    clock.jump(400 * DAY)
    assert (await run_retention(team.services, OPERATOR))[0].removed == 0
    clock.jump(-400 * DAY)
    clock.advance(31 * DAY)
    assert (await plan_retention(team.services, OPERATOR)).removed


async def test_retention_runs_when_its_schedule_says(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock)
    assert await retention_if_due(team.services) == {}
    await apply(team, NEWEST_8 + '[schedule]\nretention = "0 3 * * *"\ntime-zone = "Europe/Berlin"\n')
    assert await retention_if_due(team.services) == {}
    clock.advance(DAY)
    assert (await retention_if_due(team.services))["removed"] == 2
    assert await retention_if_due(team.services) == {}


async def test_immutable_tags_are_neither_moved_nor_deleted(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock, 2)
    await team.push(APP, "v0.1", files={"n": b"0"})
    await apply(team, IMMUTABLE)
    await team.push(APP, "v1.0.0", files={"n": b"0"})  # the same again
    await team.push(APP, "v0.1", files={"n": b"other"})
    digest = (await tags(team))["v1.0.0"]
    other = image([{"n": b"other"}])
    headers = {"content-type": other.media_type}
    answer = await team.call(
        "PUT", f"/v2/{APP}/manifests/v1.0.0", "root", content=other.manifest, headers=headers
    )
    assert answer.status_code == 403
    said = answer.json()["errors"][0]
    assert said["code"] == "DENIED"
    assert said["message"] == (
        f"tag v1.0.0 of acme/pkg is immutable and can't be overwritten: rule immutable 1"
        f' (tags "v*" except "v0.*") keeps it at {digest}; push under another tag'
    )
    for path in (f"/v2/{APP}/manifests/v1.0.0", f"/v2/{APP}/manifests/{digest}"):
        assert (await team.call("DELETE", path, "root")).status_code == 403
    answer = await team.api("DELETE", "/repositories/acme%2Fpkg", "root")
    assert answer.status_code == 403
    with pytest.raises(TagImmutable):
        await delete_tags(team.services, OPERATOR, APP, [TagName("v1.0.0")])
    await delete_tags(team.services, OPERATOR, APP, [TagName("v0.1")])


async def test_an_immutable_tag_keeps_all_its_platforms(team: Registry) -> None:
    child = await team.push(APP, "v0.1")
    await team.push(APP, "v0.1", files={"n": b"other"})
    both = index([(child, {"os": "linux", "architecture": "amd64"})])
    await team.call(
        "PUT", f"/v2/{APP}/manifests/v2.0.0", "root", content=both, headers={"content-type": OCI_INDEX}
    )
    await apply(team, IMMUTABLE)
    answer = await team.call("DELETE", f"/v2/{APP}/manifests/{child.digest}", "root")
    assert (answer.status_code, "left without one of its images" in answer.text) == (403, True)


async def test_what_would_have_been_refused_is_shown(team: Registry, clock: ManualClock) -> None:
    await team.push(APP, "v1", files={"n": b"1"})
    await team.push(APP, "v1", files={"n": b"2"})
    preview = await plan_policy(team.services, OPERATOR, IMMUTABLE)
    assert [(one.repository, one.tag, one.what) for one in preview.refused] == [(APP, "v1", "overwritten")]
    await apply(team, IMMUTABLE)


async def test_a_tag_tells_what_becomes_of_it(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock, 2)
    await apply(team, NEWEST_8.replace("newest = 8", 'pulled-within = "30d"'))
    rows = (await plan_repository(team.services, OPERATOR, APP)).rows
    assert [(row.tag, row.rule, row.goes_at is not None) for row in rows] == [
        ("v1.0.0", "retention 1, keep 1", True),
        ("v1.0.1", "retention 1, keep 1", True),
    ]


async def test_a_projects_owner_has_that_projects_policy(team: Registry, clock: ManualClock) -> None:
    await fill(team, clock)
    owner = await actor(team, "owner")
    text = '[[retention]]\nrepositories = "pkg"\nrest = "delete"\nkeep = [{ newest = 8 }]\n'
    await plan_policy(team.services, owner, text, project="acme")
    await apply_policy(team.services, owner, text, project="acme")
    await apply_policy(team.services, owner, "", project="acme")
    versions = await list_policy_versions(team.services, owner, project="acme")
    assert [(one.version, one.by, one.text) for one in versions] == [(2, "owner", ""), (1, "owner", text)]
    await refused(team, lambda s, a: apply_policy(s, a, text), "owner", "auditor", "stranger")
    await refused(team, lambda s, a: apply_policy(s, a, text, project="acme"), "auditor", "stranger")
    await refused(team, lambda s, a: run_retention(s, a), "owner", "auditor", "stranger")
