"""What a policy rests on in the catalog, on SQLite and PostgreSQL."""

from typing import Any

import pytest
from sqlalchemy import Connection

from entrepot.oci.digest import Digest
from entrepot.oci.reference import TagName
from entrepot.server.access.decision.change import allow_all
from entrepot.server.control.queries import policies as rows
from entrepot.server.policies.document import parse_policy
from entrepot.server.policies.facts import RepositoryFacts
from entrepot.server.policies.retention import evaluate
from entrepot.server.repos.errors import TagImmutable
from entrepot.server.repos.history import restore_tag
from entrepot.server.repos.manifestdelete import delete_tag
from tests.unit.server.world import ACTOR, DAY, REPO, World, on_both

pytestmark = pytest.mark.anyio

KEEPS = '{ newest = 1, tags = "v*" }, { always = true, tags = "index" }'
RETENTION = f'[[retention]]\nrest = "delete"\nkeep = [{KEEPS}]\n'
IMMUTABLE = '[[immutable]]\ntags = "v*"\nkind = "image"\ndelete = "by-retention"\n'


async def put_policy(world: World, text: str, project: str = "") -> None:
    def write(connection: Connection) -> None:
        rows.add_version(connection, project, text, at=world.clock.now(), by="tester")

    await world.catalog.write(write)


async def facts(world: World, text: str) -> RepositoryFacts:
    def read(connection: Connection) -> RepositoryFacts:
        some = rows.live_repositories(connection, project_name="team")
        return next(rows.facts_of(connection, some, parse_policy(text)))

    return await world.catalog.read(read)


async def delete(world: World, name: str, rule: str | None = None) -> None:
    def write(connection: Connection) -> None:
        now, steady = world.clock.now(), world.clock.steady()
        delete_tag(connection, REPO, name, ACTOR, allow_all, now, steady, rule=rule)

    await world.catalog.write(write)


@on_both
async def test_an_immutable_tag_goes_by_retention_alone(world: World) -> None:
    await world.push_image(b"1", tag="v1")
    await put_policy(world, IMMUTABLE, "team")
    await world.push_image(b"1", tag="v1")
    with pytest.raises(TagImmutable, match=r"team: immutable 1 \(tags"):
        await world.push_image(b"2", tag="v1")
    with pytest.raises(TagImmutable):
        await delete(world, "v1")
    await delete(world, "v1", rule="retention 1")
    await world.push_image(b"2", tag="v1")


@on_both
async def test_what_is_kept_is_whole_after_collection_and_what_went_comes_back_before(world: World) -> None:
    old = await world.push_image(b"old", tag="v1")
    world.clock.advance(60)
    kept = await world.push_image(b"kept", tag="v2")
    child = await world.push_image(b"child", tag=None)
    await world.push_index(child, tag="index")
    signature = await world.push_image(b"signature", tag=f"sha256-{str(old)[7:]}.sig")
    await put_policy(world, RETENTION)
    found = await facts(world, RETENTION)
    assert found.children
    removed = evaluate(found, parse_policy(RETENTION), world.clock.now()).removed
    assert {row.digest for row in removed} == {str(old), str(signature)}
    before = sorted((tag.name, tag.digest) for tag in found.tags)
    for row in removed:
        await delete(world, row.tag, rule=row.rule)

    def put_back(connection: Connection) -> None:
        now, steady = world.clock.now(), world.clock.steady()
        for row in removed:
            restore_tag(connection, REPO, TagName(row.tag), row.digest, ACTOR, allow_all, now, steady)

    await world.catalog.write(put_back)
    again = await facts(world, RETENTION)
    assert sorted((tag.name, tag.digest) for tag in again.tags) == before
    for row in removed:
        await delete(world, row.tag, rule=row.rule)
    world.clock.advance(8 * DAY)
    await world.collect_and_sweep(untagged=True)
    for layer in (b"kept", b"child"):
        assert await world.readable(Digest.of(layer))
    assert await world.manifests.get(REPO, kept) is not None
    assert await world.manifests.get(REPO, child) is not None


@on_both
async def test_pushes_since_are_taken_back_in_thought(world: World) -> None:
    first = await world.push_image(b"1", tag="a")

    def last(connection: Connection) -> int:
        return rows.last_event(connection)

    seq = await world.catalog.read(last)
    world.clock.advance(60)
    await world.push_image(b"2", tag="a")
    await world.push_image(b"3", tag="b")

    def before(connection: Connection) -> dict[tuple[str, str], Any]:
        return rows.before_pushes(connection, seq)

    found = await world.catalog.read(before)
    assert found[REPO, "b"] is None
    assert found[REPO, "a"][0] == str(first)
