"""`/events`: who sees what of the feed."""

import pytest

from entrepot.server.events.sequencer import Sequencer
from tests.unit.server.api.conftest import Registry

pytestmark = pytest.mark.anyio


async def kinds(team: Registry, who: str | None, query: str = "") -> list[tuple[str, str | None]]:
    while await Sequencer(team.services.catalog).number():
        pass
    answer = await team.api("GET", f"/events?n=1000{query}", who)
    assert answer.status_code == 200, answer.text
    return [(one["kind"], one["repository"]) for one in answer.json()["events"]]


async def test_a_reader_sees_only_what_it_may(team: Registry) -> None:
    everything = await kinds(team, "root")
    assert {("push", "acme/app"), ("create-user", None), ("add-grant", "acme")} <= set(everything)
    stranger = await kinds(team, "stranger")
    assert {repository for _, repository in stranger} == {"open", "open/app", "staff", "staff/app"}
    viewer = await kinds(team, "viewer")
    assert ("push", "acme/app") in viewer
    assert not {kind for kind, _ in viewer} & {"add-grant", "create-user", "sign-in"}
    assert ("add-grant", "acme") in await kinds(team, "owner", "&project=acme")
    assert ("add-grant", "acme") not in await kinds(team, "viewer", "&project=acme")
    assert await kinds(team, "stranger", "&project=acme") == await kinds(team, "stranger", "&project=none")


async def test_numbers_filters_and_going_on(team: Registry) -> None:
    await kinds(team, "root")
    first = (await team.api("GET", "/events?after=0&n=2", "root")).json()
    assert [one["number"] for one in first["events"]] == [1, 2]
    assert first["next"] == 2
    pushes = (await team.api("GET", "/events?kind=push&project=acme", "root")).json()["events"]
    assert [one["facts"]["tags"] for one in pushes] == [["v1"]]
    assert "address" not in pushes[0]["facts"]
    gone = await team.api("GET", "/events?after=99999", "root")
    assert (gone.status_code, gone.json()["oldest"]) == (410, 1)


async def test_a_snapshot_is_the_tag_table(team: Registry) -> None:
    await kinds(team, "root")
    seen, last = [], ""
    while True:
        page = (await team.api("GET", f"/events/snapshot?n=1&last={last}", "stranger")).json()
        seen += [(one["repository"], one["tag"]) for one in page["tags"]]
        if page["next"] is None:
            break
        last = page["next"]
    assert seen == [("open/app", "v1"), ("staff/app", "v1")]
