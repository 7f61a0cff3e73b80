"""Content changed, deleted and put back: all of what was asked, or nothing."""

import pytest
from sqlalchemy import update

from entrepot.errors import Conflict, InvalidInput, NotFound
from entrepot.oci.digest import Digest
from entrepot.oci.reference import TagName
from entrepot.server.access.decision.errors import PermitRefused, VersionMismatch
from entrepot.server.control import deletion, manifests, projects, repositories, tags
from entrepot.server.db.tables import project
from entrepot.server.repos.errors import QuotaExceeded
from tests.support.images import Image
from tests.unit.server.api.conftest import Registry, registry, team
from tests.unit.server.control.people_and_rows import OPERATOR, actor, everything

__all__ = ["registry", "team"]
pytestmark = pytest.mark.anyio

APP = "acme/app"
V1, V2, RC1, NEVER = (TagName(name) for name in ("v1", "v2", "rc1", "never"))


async def digests(registry: Registry) -> dict[str, str]:
    return {row.name: row.digest for row in await tags.list_tags(registry.services, OPERATOR, APP)}


def digest_of(image: Image) -> str:
    return str(Digest.of(image.manifest))


async def test_one_tag_that_is_missing_keeps_the_others(team: Registry) -> None:
    await team.push(APP, "v2")
    before = await everything(team)
    with pytest.raises(NotFound):
        await tags.delete_tags(team.services, await actor(team, "owner"), APP, [V1, V2, NEVER])
    assert await everything(team) == before


async def test_one_tag_that_is_not_for_the_actor_keeps_the_others(team: Registry) -> None:
    await team.push(APP, "rc1")
    acme = (await projects.show_project(team.services, OPERATOR, "acme")).id
    await team.grant(await team.user("nina"), acme, "maintainer", tags="rc*")
    nina = await actor(team, "nina")
    before = await everything(team)
    with pytest.raises(PermitRefused):
        await tags.delete_tags(team.services, nina, APP, [RC1, V1])
    assert await everything(team) == before
    await tags.delete_tags(team.services, nina, APP, [RC1])
    assert set(await digests(team)) == {"v1"}


async def test_deleted_tags_come_back_but_for_those_that_are_something_new(team: Registry) -> None:
    old = await team.push(APP, "v2", files={"two": b"2"})
    owner = await actor(team, "owner")
    gone = await tags.delete_tags(team.services, owner, APP, [V1, V2])
    new = await team.push(APP, "v1", files={"other": b"x"})
    assert await tags.undo_deletion(team.services, owner, APP, gone) == 1
    assert await digests(team) == {"v1": digest_of(new), "v2": digest_of(old)}
    assert await tags.undo_deletion(team.services, owner, APP, gone) == 0


async def test_when_one_tag_can_not_come_back_none_does(team: Registry) -> None:
    """A quota that was lowered meanwhile has room for the first alone."""
    image = await team.push(APP, "v2", files={"two": b"2"})
    owner = await actor(team, "owner")
    gone = await tags.delete_tags(team.services, owner, APP, [V1, V2])
    await manifests.delete_manifest(team.services, owner, APP, Digest.of(image.manifest))
    full = update(project).where(project.c.name == "acme").values(quota_bytes=project.c.usage_bytes)
    await team.services.catalog.write(lambda c: c.execute(full) and None)
    before = await everything(team)
    with pytest.raises(QuotaExceeded):
        await tags.undo_deletion(team.services, owner, APP, gone)
    assert await everything(team) == before


async def test_a_tag_goes_back_to_what_it_was(team: Registry) -> None:
    first = (await digests(team))["v1"]
    between = team.now
    second = digest_of(await team.push(APP, "v1", files={"two": b"2"}))
    third = digest_of(await team.push(APP, "v1", files={"three": b"3"}))
    owner, services = await actor(team, "owner"), team.services
    assert (await tags.put_back(services, owner, APP, V1)).digest == second
    assert (await tags.put_back(services, owner, APP, V1, at=between)).digest == first
    assert await tags.restore_tag(services, owner, APP, V1, Digest.parse(third)) == first
    history = await tags.history_of_tag(services, owner, APP, "v1", n=2)
    assert ([event.new for event in history.events], history.more) == ([third, first], True)
    assert history.present == third
    assert history.kept >= {first, third}


async def test_a_tag_goes_to_nothing_it_never_was(team: Registry) -> None:
    other = Digest.of((await team.push(APP, "v2", files={"two": b"2"})).manifest)
    owner, services = await actor(team, "owner"), team.services
    before = await everything(team)
    with pytest.raises(NotFound):
        await tags.restore_tag(services, owner, APP, V1, other)
    with pytest.raises(NotFound):
        await tags.put_back(services, owner, APP, V1, digest=Digest.of(b"never pushed"))
    with pytest.raises(NotFound):
        await tags.put_back(services, owner, APP, V1, at=1)
    with pytest.raises(NotFound):
        await tags.put_back(services, owner, APP, V1)
    assert await everything(team) == before


async def test_a_profile_that_was_changed_meanwhile_stays(team: Registry) -> None:
    owner = await actor(team, "owner")
    changed = await repositories.change_profile(
        team.services, owner, APP, description="one", labels=["base"], expected_version=0
    )
    assert (changed.profile.version, changed.row.labels) == (1, ["base"])
    before = await everything(team)
    with pytest.raises(VersionMismatch):
        await repositories.change_profile(team.services, owner, APP, readme="two", expected_version=0)
    with pytest.raises(InvalidInput):
        await repositories.change_profile(team.services, owner, APP, readme="two", labels=["fine", "a b"])
    assert await everything(team) == before


async def test_a_repository_whose_name_is_in_use_stays_deleted(team: Registry) -> None:
    owner = await actor(team, "owner")
    await deletion.delete_repository(team.services, owner, APP)
    await team.push(APP, "v9")
    before = await everything(team)
    with pytest.raises(Conflict):
        await deletion.restore_repository(team.services, owner, APP)
    assert await everything(team) == before
    await deletion.delete_repository(team.services, owner, APP)
    await deletion.restore_repository(team.services, owner, APP)
    assert set(await digests(team)) == {"v9"}


async def test_the_operator_does_what_an_owner_does(team: Registry) -> None:
    await tags.delete_tags(team.services, OPERATOR, APP, [V1])
    await tags.put_back(team.services, OPERATOR, APP, V1)
    assert set(await digests(team)) == {"v1"}
