"""Notifications of other registries: who may send them, and who sees what they told."""

import json

import pytest

from entrepot.errors import InvalidInput
from entrepot.server.control.upstreams import list_repositories, take_events
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, actor, refused

pytestmark = pytest.mark.anyio

PUSH = {
    "id": "1",
    "action": "push",
    "target": {"repository": "acme/far", "tag": "v1", "digest": f"sha256:{'a' * 64}"},
}
ENVELOPE = json.dumps({"events": [PUSH]}).encode()


async def test_an_event_counts_once_and_is_seen_by_who_sees_the_project(team: Registry) -> None:
    root = await actor(team, "root")
    assert await take_events(team.services, root, "docker.test", ENVELOPE) == 1
    assert await take_events(team.services, root, "docker.test", ENVELOPE) == 0
    ((row, tags),) = await list_repositories(team.services, await actor(team, "puller"))
    assert (row.registry, row.name, tags) == ("docker.test", "acme/far", ["v1"])
    for who in (await actor(team, "stranger"), NOBODY):
        assert await list_repositories(team.services, who) == []


async def test_only_who_may_sends_them(team: Registry) -> None:
    await refused(
        team,
        lambda s, a: take_events(s, a, "docker.test", ENVELOPE),
        "owner",
        "auditor",
        "stranger",
        "acme+ci",
    )
    assert await list_repositories(team.services, await actor(team, "root")) == []


@pytest.mark.parametrize("body", [b"no JSON", b"{}", b'{"events": 7}'])
async def test_what_is_no_envelope_is_refused(team: Registry, body: bytes) -> None:
    with pytest.raises(InvalidInput, match="has no events"):
        await take_events(team.services, await actor(team, "root"), "docker.test", body)
