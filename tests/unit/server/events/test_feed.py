"""The feed: numbers without gaps, and a tag table that can be rebuilt from it."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, func, select

from entrepot.server.access.decision.change import allow_all
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.control.queries.tombstones import (
    delete_project,
    delete_repository,
    restore_project,
    restore_repository,
)
from entrepot.server.db.tables import event, repo, tag
from entrepot.server.events.feed import EventsGone, FeedReader, read_events, read_head
from entrepot.server.events.sequencer import Sequencer, prune
from entrepot.server.repos.history import restore_tag
from tests.unit.server.world import ACTOR, DAY, World, image_manifest, on_both

pytestmark = pytest.mark.anyio
ALL = FeedReader(Visible(everything=True), audits_registry=True)


async def feed_of(world: World) -> list[Any]:
    while await Sequencer(world.catalog).number():
        pass
    found: list[Any] = []
    after = 0
    while True:
        page = await world.catalog.read(lambda c, after=after: read_events(c, ALL, after=after, n=7))
        found += page.events
        if page.next == page.newest:
            return found
        after = page.next


def rebuilt(events: list[Any]) -> dict[tuple[str, str], str]:
    """What somebody who only reads the feed takes the tag table for."""
    tags: dict[int, dict[str, str]] = {}
    names: dict[int, str] = {}
    for one in events:
        facts = one.facts
        number = facts.get("repository_id")
        if number is None:
            continue
        mine = tags.setdefault(number, {})
        if one.kind in {"push", "restore"}:
            names[number] = one.repository
            mine.update(dict.fromkeys(facts["tags"], facts["digest"]))
        elif one.kind in {"delete-tag", "delete-manifest"}:
            for name in facts["tags"]:
                del mine[name]
        elif one.kind == "delete-repository":
            tags[number] = {}
        elif one.kind == "restore-repository":
            names[number] = one.repository
            mine.update(facts["restored"])
    return {(names[number], name): digest for number, mine in tags.items() for name, digest in mine.items()}


async def real(world: World) -> dict[tuple[str, str], str]:
    def read(connection: Connection) -> dict[tuple[str, str], str]:
        rows = connection.execute(
            select(repo.c.name, tag.c.name.label("tag"), tag.c.digest)
            .join(repo, repo.c.id == tag.c.repo_id)
            .where(repo.c.deleted_at.is_(None))
        )
        return {(row.name, row.tag): row.digest for row in rows}

    return await world.catalog.read(read)


@on_both
async def test_replaying_rebuilds_the_tag_table_under_concurrent_changes(world: World) -> None:
    await world.push_blob(b"{}")
    await world.push_blob(b"layer")
    raws = [image_manifest(()), image_manifest((b"layer",))]
    stop = asyncio.Event()
    numbering = [asyncio.create_task(Sequencer(world.catalog, poll_s=0.001).run(stop)) for _ in range(2)]

    async def push(number: int) -> None:
        await world.push_manifest(raws[number % 2], tag=f"t{number % 5}")
        if number % 7 == 0:
            await world.manifests.delete_tag("team/app", f"t{number % 5}", actor=ACTOR)

    results = await asyncio.gather(*(push(number) for number in range(60)), return_exceptions=True)
    assert {type(one).__name__ for one in results} <= {"NoneType", "ManifestUnknown"}
    stop.set()
    await asyncio.gather(*numbering)
    events = await feed_of(world)
    assert [one.number for one in events] == list(range(1, len(events) + 1))
    count = select(func.count()).select_from(event)
    assert await world.scalar(count) == len(events)
    assert rebuilt(events) == await real(world)


@on_both
async def test_deleted_and_restored_repositories_are_told_with_their_tags(world: World) -> None:
    await world.push_image(b"a", tag="v1")
    gone = await world.push_image(b"b", tag="v2")
    await world.push_image(b"c", tag="v1", repository="team/other")
    now, steady = world.clock.now(), world.clock.steady()

    def change(connection: Connection) -> None:
        delete_repository(connection, "team/app", ACTOR, allow_all, now, steady)
        restore_repository(connection, "team/app", ACTOR, allow_all, now, 0)
        delete_project(connection, "team", ACTOR, allow_all, now, steady)

    await world.catalog.write(change)
    assert rebuilt(await feed_of(world)) == await real(world) == {}
    await world.catalog.write(lambda c: restore_project(c, "team", ACTOR, now, 0))
    await world.manifests.delete_manifest("team/app", gone, actor=ACTOR)
    assert len(await real(world)) == 2
    assert rebuilt(await feed_of(world)) == await real(world)
    await world.catalog.write(
        lambda c: restore_tag(c, "team/app", "v2", str(gone), ACTOR, allow_all, now, steady) and None
    )
    events = await feed_of(world)
    assert rebuilt(events) == await real(world)
    assert len(await real(world)) == 3


async def test_a_push_says_all_that_it_is(world: World) -> None:
    subject = await world.push_image(b"a", tag="v1")
    await world.push_image(b"b", tag="v1", subject=subject)
    pushes = [one for one in await feed_of(world) if one.kind == "push"]
    assert [one.kinds for one in pushes] == [
        ("push", "create-tag"),
        ("push", "overwrite-tag", "add-referrer"),
    ]
    page = await world.catalog.read(lambda c: read_events(c, ALL, after=0, n=10, kinds=("add-referrer",)))
    assert [one.number for one in page.events] == [pushes[1].number]


@on_both
async def test_old_events_go_and_their_readers_are_told(world: World) -> None:
    await world.push_image(b"a", tag="v1")
    before = len(await feed_of(world))
    world.clock.advance(2 * DAY)
    await world.push_image(b"b", tag="v2")
    await Sequencer(world.catalog).number()
    assert await world.catalog.write(prune, world.clock.now() - DAY * 1_000_000) == before
    oldest, newest = await world.catalog.read(read_head)
    assert oldest == before + 1
    for after in (0, before - 1, newest + 1):
        with pytest.raises(EventsGone) as gone:
            await world.catalog.read(lambda c, after=after: read_events(c, ALL, after=after, n=10))
        assert gone.value.oldest == oldest
    page = await world.catalog.read(lambda c: read_events(c, ALL, after=before, n=10))
    assert [one.number for one in page.events] == list(range(oldest, newest + 1))


async def test_no_failure_ends_the_numbering(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.push_image(b"a")
    sequencer, stop, tries = Sequencer(world.catalog, poll_s=0.001), asyncio.Event(), 0

    async def fails() -> int:
        nonlocal tries
        tries += 1
        if tries == 2:
            stop.set()
        raise ZeroDivisionError

    monkeypatch.setattr(sequencer, "number", fails)
    monkeypatch.setattr("entrepot.server.events.sequencer.AWAY_S", 0.001)
    await asyncio.wait_for(sequencer.run(stop), 60)
    assert tries == 2
