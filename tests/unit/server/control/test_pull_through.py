"""Who makes and changes upstreams, and what is kept of their accounts."""

import pytest
from sqlalchemy import select

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.errors import AlreadyExists, InvalidCredentials, Unknown
from entrepot.server.control import pull_through
from entrepot.server.control.projects import show_project
from entrepot.server.db.tables import upstream
from tests.unit.server.api.conftest import Registry
from tests.unit.server.control.conftest import NOBODY, OPERATOR, UseCase, actor, audit_rows, refused

pytestmark = pytest.mark.anyio

CHANGES: dict[str, UseCase] = {
    "add": lambda s, a: pull_through.add_upstream(s, a, name="quay", url="quay.io"),
    "change": lambda s, a: pull_through.change_upstream(s, a, "hub", {"inside": True}),
    "remove": lambda s, a: pull_through.remove_upstream(s, a, "hub"),
}


@pytest.fixture
async def hub(team: Registry) -> Registry:
    await pull_through.add_upstream(team.services, OPERATOR, name="hub", url="docker.io")
    return team


@pytest.mark.parametrize("name", CHANGES)
async def test_only_admins_change_them(hub: Registry, name: str) -> None:
    await refused(hub, CHANGES[name], "owner", "auditor", "stranger", "acme+ci")
    with pytest.raises(InvalidCredentials):
        await CHANGES[name](hub.services, NOBODY)
    before = await audit_rows(hub)
    await CHANGES[name](hub.services, await actor(hub, "root"))
    assert await audit_rows(hub) > before


async def test_who_may_see_the_registry_sees_them(hub: Registry) -> None:
    await refused(hub, pull_through.list_upstreams, "owner", "stranger")
    (found,) = await pull_through.list_upstreams(hub.services, await actor(hub, "auditor"))
    assert (found.upstream.project, found.upstream.registry) == ("hub", "docker.io")


async def test_an_account_makes_the_project_private_and_is_sealed(hub: Registry) -> None:
    made = await pull_through.add_upstream(
        hub.services, OPERATOR, name="mine", url="https://ghcr.io/acme", username="bot", password="hunter2"
    )
    assert made.visibility == "private"
    kept = await hub.services.catalog.read(
        lambda connection: connection.execute(
            select(upstream.c.sealed).where(upstream.c.username == "bot")
        ).scalar_one()
    )
    assert b"hunter2" not in kept
    assert "hunter2" not in repr(made)
    project = await show_project(hub.services, await actor(hub, "root"), "mine")
    assert (project.kind, project.visibility) == ("proxy", "private")


async def test_what_can_not_be_is_refused_and_leaves_nothing(hub: Registry) -> None:
    add = pull_through.add_upstream
    for url in ("ftp://x", "https://user:secret@ghcr.io", "https://", "not a host"):
        with pytest.raises(InvalidInput) as told:
            await add(hub.services, OPERATOR, name="bad", url=url)
        assert "secret" not in told.value.message
    with pytest.raises(InvalidInput, match="both or neither"):
        await add(hub.services, OPERATOR, name="bad", url="quay.io", username="bot")
    with pytest.raises(AlreadyExists):
        await add(hub.services, OPERATOR, name="acme", url="quay.io")
    await add(hub.services, OPERATOR, name="quay", url="quay.io", whole=True)
    with pytest.raises(AlreadyExists, match="there can be one"):
        await pull_through.change_upstream(hub.services, OPERATOR, "hub", {"whole": True})
    names = [one.upstream.project for one in await pull_through.list_upstreams(hub.services, OPERATOR)]
    assert names == ["hub", "quay"]


async def test_a_removed_upstream_leaves_a_project_like_any_other(hub: Registry) -> None:
    await pull_through.remove_upstream(hub.services, OPERATOR, "hub")
    with pytest.raises(Unknown):
        await pull_through.show_upstream(hub.services, OPERATOR, "hub")
    assert (await show_project(hub.services, await actor(hub, "root"), "hub")).kind == "local"
    await hub.push("hub/app", "v1")


async def test_the_api_and_the_page_show_no_password(hub: Registry) -> None:
    body = {"project": "mine", "url": "ghcr.io", "username": "bot", "password": "hunter2"}
    made = await hub.api("POST", "/pull-through", "root", json=body)
    assert made.status_code == 201, made.text
    changed = await hub.api("PATCH", "/pull-through/mine", "root", json={"allow": ["acme/**"]})
    assert changed.json()["allow"] == ["acme/**"]
    listed = await hub.api("GET", "/pull-through", "auditor")
    snippets = await hub.api("GET", "/pull-through/hub/snippets")
    page = await hub.call("GET", "/admin/pull-through?snippets=hub", "root")
    assert [one["project"] for one in listed.json()] == ["hub", "mine"]
    assert page.status_code == 200, page.text
    for answer in (made, changed, listed, snippets, page):
        assert "hunter2" not in answer.text
    assert "/hub/library/nginx" in snippets.text
    assert "/hub/library/nginx" in page.text
    gone = await hub.api("DELETE", "/pull-through/mine", "root")
    assert gone.status_code == 204
