"""Use cases about content ask for leave themselves, whatever the route before them has asked."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from entrepot.oci.digest import Digest
from entrepot.oci.reference import TagName
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused
from entrepot.server.control import deletion, manifests, projects, repositories, search, tags
from entrepot.server.control.services import Services
from tests.unit.server.api.conftest import Registry, registry, team
from tests.unit.server.control.people_and_rows import NOBODY, OPERATOR, actor, everything

__all__ = ["registry", "team"]
pytestmark = pytest.mark.anyio

APP = "acme/app"
Use = Callable[[Services, Actor, Any], Awaitable[Any]]
"""`await use(services, actor, image)`"""

V1, V2, OLD = (TagName(name) for name in ("v1", "v2", "old"))
CHANGES: dict[str, tuple[str, Use]] = {
    "change_profile": ("puller", lambda s, a, _: repositories.change_profile(s, a, APP, description="x")),
    "delete_repository": ("developer", lambda s, a, _: deletion.delete_repository(s, a, APP)),
    "restore_repository": ("developer", lambda s, a, _: deletion.restore_repository(s, a, "acme/gone")),
    "delete_tags": ("puller", lambda s, a, _: tags.delete_tags(s, a, APP, [V1, V2])),
    "undo_deletion": ("puller", lambda s, a, _: tags.undo_deletion(s, a, APP, tags.Deleted(1, 99))),
    "put_back": ("puller", lambda s, a, _: tags.put_back(s, a, APP, OLD)),
    "restore_tag": (
        "puller",
        lambda s, a, image: tags.restore_tag(s, a, APP, V1, Digest.of(image.manifest)),
    ),
    "delete_manifest": (
        "puller",
        lambda s, a, image: manifests.delete_manifest(s, a, APP, Digest.of(image.manifest)),
    ),
    "set_star": ("stranger", lambda s, a, _: repositories.set_star(s, a, APP, starred=True)),
    "set_star of a robot": ("acme+ci", lambda s, a, _: repositories.set_star(s, a, APP, starred=True)),
    "delete_project": ("maintainer", lambda s, a, _: projects.delete_project(s, a, "acme")),
}
READS: dict[str, tuple[str, Use]] = {
    "show_repository": ("stranger", lambda s, a, _: repositories.show_repository(s, a, APP)),
    "show_profile": ("stranger", lambda s, a, _: repositories.show_profile(s, a, APP)),
    "list_uploads": ("puller", lambda s, a, _: repositories.list_uploads(s, a, APP)),
    "biggest_repositories": (
        "developer",
        lambda s, a, _: repositories.biggest_repositories(s, a, "acme", n=9),
    ),
    "list_moves": ("stranger", lambda s, a, _: repositories.list_moves(s, a, n=9, repository=APP)),
    "list_tags": ("stranger", lambda s, a, _: tags.list_tags(s, a, APP)),
    "page_of_tags": ("stranger", lambda s, a, _: tags.page_of_tags(s, a, APP)),
    "show_tag": ("stranger", lambda s, a, _: tags.show_tag(s, a, APP, "v1")),
    "find_tag": ("viewer", lambda s, a, _: tags.find_tag(s, a, APP, "v1")),
    "list_deleted_tags": ("stranger", lambda s, a, _: tags.list_deleted_tags(s, a, APP)),
    "history_of_tag": ("stranger", lambda s, a, _: tags.history_of_tag(s, a, APP, "v1")),
    "list_manifests": ("stranger", lambda s, a, _: manifests.list_manifests(s, a, APP)),
    "show_manifest": (
        "viewer",
        lambda s, a, image: manifests.show_manifest(s, a, APP, str(Digest.of(image.manifest))),
    ),
    "show_surroundings": (
        "viewer",
        lambda s, a, image: manifests.show_surroundings(
            s,
            a,
            APP,
            str(Digest.of(image.manifest)),
            image=str(Digest.of(image.manifest)),
            layers=[],
            n=9,
        ),
    ),
    "show_project": ("stranger", lambda s, a, _: projects.show_project(s, a, "acme")),
}


@pytest.fixture
async def world(team: Registry) -> Registry:
    """Something of each kind that could be changed: a tag and a repository that are gone, two tags of one."""
    for name in ("acme/app", "acme/gone"):
        for tag in ("v2", "old"):
            await team.push(name, tag, files={tag: name.encode()})
    await tags.delete_tags(team.services, OPERATOR, APP, [OLD])
    await deletion.delete_repository(team.services, OPERATOR, "acme/gone")
    return team


@pytest.mark.parametrize("name", CHANGES)
async def test_who_may_not_changes_nothing(world: Registry, name: str) -> None:
    image = await world.push(APP, "v1")
    who, use = CHANGES[name]
    before = await everything(world)
    with pytest.raises(PermitRefused):
        await use(world.services, await actor(world, who), image)
    with pytest.raises((PermitRefused, InvalidCredentials)):
        await use(world.services, NOBODY, image)
    assert await everything(world) == before


@pytest.mark.parametrize("name", CHANGES)
async def test_who_may_changes_it(world: Registry, name: str) -> None:
    image = await world.push(APP, "v1")
    before = await everything(world)
    await CHANGES[name][1](world.services, await actor(world, "owner"), image)
    assert await everything(world) != before


@pytest.mark.parametrize("name", READS)
async def test_who_may_not_is_shown_nothing(world: Registry, name: str) -> None:
    image = await world.push(APP, "v1")
    who, use = READS[name]
    with pytest.raises(PermitRefused):
        await use(world.services, await actor(world, who), image)
    with pytest.raises(InvalidCredentials):
        await use(world.services, NOBODY, image)
    await use(world.services, await actor(world, "owner"), image)


async def test_lists_hold_only_what_the_actor_may_see(world: Registry) -> None:
    for who, names in (
        (NOBODY, ["open/app"]),
        (await actor(world, "stranger"), ["open/app", "staff/app"]),
        (await actor(world, "viewer"), ["acme/app", "open/app", "staff/app"]),
        (OPERATOR, ["acme/app", "open/app", "staff/app"]),
    ):
        listed = await repositories.list_repositories(world.services, who)
        assert [row.name for row in listed] == names
        page = await repositories.page_of_repositories(world.services, who, order="name", offset=0, n=9)
        assert [row.name for row in page.rows] == names
        moves = await repositories.list_moves(world.services, who, n=99)
        assert {move.repository for _number, move in moves} == set(names)
        found = await search.search(world.services, who, "app", n=9)
        assert sorted(one.name for one in found.found if one.kind == "repository") == names


async def test_what_can_be_brought_back_is_told_of_what_the_actor_sees(world: Registry) -> None:
    with pytest.raises(InvalidCredentials):
        await deletion.list_undoable(world.services, NOBODY)
    assert await deletion.list_undoable(world.services, await actor(world, "stranger")) == []
    found = await deletion.list_undoable(world.services, await actor(world, "viewer"))
    assert {(one.kind, one.name) for one in found} == {
        ("tag-deleted", "acme/app:old"),
        ("repository", "acme/gone"),
    }


async def test_who_sees_what_is_deleted_is_whoever_may_bring_it_back(world: Registry) -> None:
    for who, tag_names, repository_names in (("viewer", [], []), ("owner", ["old"], ["acme/gone"])):
        by = await actor(world, who)
        gone = await tags.list_deleted_tags(world.services, by, APP)
        assert [one.name for one in gone] == tag_names
        lost = await repositories.list_deleted_repositories(world.services, by, "acme")
        assert [one.name for one in lost] == repository_names
