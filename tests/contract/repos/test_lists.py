"""Blobs across repositories, lists, referrers, history: what is found and what is not."""

from typing import Any

import pytest
from sqlalchemy import Connection, Engine, delete, event, update

from entrepot.errors import Denied
from entrepot.oci import mediatype
from entrepot.oci.digest import Digest
from entrepot.server.access.decision.patterns import RepositoryPattern, Visible
from entrepot.server.db.tables import (
    audit,
    blob,
    manifest,
    project,
    pull_look,
    repo,
    repo_blob,
    tag_pull,
    tag_pull_day,
    trash,
)
from entrepot.server.repos.errors import BlobUnknown, ManifestUnknown, NameUnknown
from entrepot.server.repos.links import throw_away
from entrepot.server.repos.pulls import Pulls
from tests.contract.db.catalogs import SQLITE_ONLY
from tests.contract.repos.world import ALICE, REPO, World, image_manifest, index_of, refusing

pytestmark = pytest.mark.anyio

LAYER = b"a layer"
DIGEST = Digest.of(LAYER)


async def test_a_blob_is_seen_only_through_its_repository(world: World) -> None:
    """A5: knowing a digest is no right to read it."""
    found = await world.blob(LAYER)
    assert await world.blobs.find(REPO, DIGEST) is not None
    for repository in ("team/other", "team", "no/where"):
        assert await world.blobs.find(repository, DIGEST) is None
    assert b"".join([piece async for piece in await world.blobs.open(found, 2, 5)]) == LAYER[2:5]


async def test_a_mount_needs_a_readable_source(world: World) -> None:
    await world.blob(LAYER, "secret/store")
    none_readable: Any = lambda connection, name: False  # noqa: E731
    assert await world.blobs.mount(REPO, DIGEST, "team/empty", actor=ALICE) is None
    assert await world.blobs.mount(REPO, Digest.of(b"?"), "secret/store", actor=ALICE) is None
    for source in ("secret/store", None):
        refused = await world.blobs.mount(REPO, DIGEST, source, actor=ALICE, may_read=none_readable)
        assert refused is None
    with pytest.raises(Denied):
        await world.blobs.mount(REPO, DIGEST, "secret/store", actor=ALICE, permit=refusing("mount"))
    assert await world.repository(REPO) is None
    assert await world.blobs.mount(REPO, DIGEST, "secret/store", actor=ALICE) is not None
    assert await world.blobs.find(REPO, DIGEST) is not None
    assert (await world.rows(audit, "action", "new"))[-1] == ("mount", str(DIGEST))
    assert await world.blobs.mount("team/third", DIGEST, actor=ALICE) is not None  # from anywhere


async def test_a_mount_without_a_source_looks_at_what_the_caller_sees_alone(world: World) -> None:
    """A5: who measures what is done must not learn that a hidden repository has a blob, in any project."""
    await world.blob(b"seen", "team/seen")
    for number in range(5):
        await world.blob(LAYER, f"team/hidden{number}")
        await world.blob(LAYER, f"secret/hidden{number}")
    seen = Visible(only=(RepositoryPattern("team/seen"),), everything=True)

    async def steps(data: bytes, visible: Visible = seen) -> tuple[bool, list[str]]:
        done: list[str] = []

        def note(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            done.append(f"{statement} {str(parameters).replace(str(Digest.of(data)), 'DIGEST')}")

        def may_read(_connection: Connection, name: str) -> bool:
            done.append(f"may read {name}")
            return name == "team/seen"

        event.listen(Engine, "before_cursor_execute", note)
        try:
            mounted = await world.blobs.mount(
                "team/target", Digest.of(data), actor=ALICE, may_read=may_read, visible=visible
            )
        finally:
            event.remove(Engine, "before_cursor_execute", note)
        return mounted is not None, done

    nowhere, hidden = await steps(b"nowhere"), await steps(LAYER)
    assert nowhere == hidden
    assert not hidden[0]
    assert hidden[1]
    blind = Visible(visibilities=())
    assert (await steps(LAYER, blind))[1] == (await steps(b"nowhere", blind))[1]
    assert (await steps(b"seen"))[0]
    assert not (await steps(LAYER, Visible(everything=True)))[0]  # listed, and not readable


async def test_a_deleted_blob_is_gone_from_one_repository(world: World) -> None:
    await world.blob(LAYER)
    await world.blob(LAYER, "team/other")
    with pytest.raises(Denied):
        await world.blobs.delete(REPO, DIGEST, actor=ALICE, permit=refusing("delete-blob"))
    await world.blobs.delete(REPO, DIGEST, actor=ALICE)
    assert await world.worker().blobs.find(REPO, DIGEST) is None
    assert await world.blobs.find("team/other", DIGEST) is not None
    assert await world.blobs.mount("team/new", DIGEST, REPO, actor=ALICE) is None
    for repository, error in ((REPO, BlobUnknown), ("no/where", NameUnknown)):
        with pytest.raises(error):
            await world.blobs.delete(repository, DIGEST, actor=ALICE)
    await world.blob(LAYER)
    assert await world.blobs.find(REPO, DIGEST) is not None


def collected(connection: Connection, now: int) -> int:
    """What garbage collection does with blobs nobody refers to and whose lease has ended."""
    found = connection.execute(
        delete(repo_blob).where(
            repo_blob.c.digest.in_(
                blob.select().with_only_columns(blob.c.digest).where(blob.c.lease_until < now)
            )
        )
    ).rowcount
    for digest, phys in connection.execute(
        delete(blob).where(blob.c.lease_until < now).returning(blob.c.digest, blob.c.phys)
    ).all():
        throw_away(connection, phys, reason="unreferenced", digest=digest, now=now, after=now)
    return found


async def test_a_lease_outlives_the_pause_between_asking_and_pushing(world: World) -> None:
    """G2: what a pusher was told is here stays for a day; afterwards it is pushed again."""
    raw = await world.image(LAYER)
    world.clock.advance(20 * 3600)
    found = await world.blobs.find(REPO, DIGEST)
    assert found is not None
    assert await world.blobs.renew_lease(found)
    world.clock.advance(23 * 3600)
    await world.catalog.write(collected, world.clock.steady())
    assert await world.blobs.find(REPO, DIGEST) is not None
    found = await world.blobs.find(REPO, DIGEST)
    world.clock.advance(2 * 3600)
    await world.catalog.write(collected, world.clock.steady())
    assert await world.blobs.find(REPO, DIGEST) is None
    assert found is not None
    assert not await world.blobs.renew_lease(found)  # found before, collected since: told so
    await world.image(LAYER)
    await world.push(raw, "v1")


@SQLITE_ONLY
async def test_leases_are_written_only_when_half_gone(world: World) -> None:
    await world.blob(LAYER)
    before = await world.rows(blob, "lease_until")
    world.clock.advance(11 * 3600)
    for _ in range(3):
        found = await world.blobs.find(REPO, DIGEST)
        assert found is not None
        assert await world.blobs.renew_lease(found)
    assert await world.rows(blob, "lease_until") == before
    world.clock.jump(86_400)  # G7: a clock that is set changes nothing
    assert found.lease_until > world.clock.steady()
    world.clock.advance(2 * 3600)
    assert await world.blobs.renew_lease(found)
    assert await world.rows(blob, "lease_until") > before


@SQLITE_ONLY
async def test_a_blob_pushed_again_between_collection_and_unlink_survives(world: World) -> None:
    """G4: the new copy has another name, so unlinking the old one harms nobody."""
    old = await world.blob(LAYER)
    world.clock.advance(25 * 3600)
    await world.catalog.write(collected, world.clock.steady())
    new = await world.blob(LAYER)
    for (phys,) in await world.rows(trash, "phys"):
        await world.store.delete(phys)
    assert new.phys != old.phys
    assert b"".join([piece async for piece in await world.blobs.open(new)]) == LAYER


async def test_tags_are_listed_in_byte_order_page_by_page(world: World) -> None:
    raw = await world.image(LAYER)
    names = ["B", "a", "Z", "_x", "a.b", "a-b", "1", "10", "2", "b"]
    await world.push(raw, extra_tags=names)
    assert await world.tags.list(REPO, n=100) == (sorted(names), False)
    seen: list[str] = []
    more, last = True, None
    while more:
        page, more = await world.tags.list(REPO, last=last, n=3)
        seen += page
        last = page[-1]
    assert seen == sorted(names)
    assert await world.tags.list(REPO, last="a!", n=2) == (["a-b", "a.b"], True)  # need not exist
    assert await world.tags.list(REPO, last="b", n=2) == ([], False)
    assert await world.tags.list(REPO, n=0) == ([], False)
    with pytest.raises(NameUnknown):
        await world.tags.list("no/where", n=10)


async def test_repositories_are_listed_as_far_as_the_caller_sees(world: World) -> None:
    for name in ("b/one", "a/z", "a/b/c", "a/b", "c/hidden"):
        await world.push(await world.image(LAYER, repository=name), "v1", name)
    await world.blob(LAYER, "a/uploads-only")
    assert await world.repositories.list(n=10) == (["a/b", "a/b/c", "a/z", "b/one", "c/hidden"], False)
    assert await world.repositories.list(last="a/b", n=2) == (["a/b/c", "a/z"], True)
    assert await world.repositories.list(last="nothing-is-called-so", n=2) == ([], False)
    row = await world.repository("a/b")
    assert row is not None
    assert ("a", "private") in await world.rows(project, "name", "visibility")
    one_project = Visible(project_ids=(row.project_id,))
    assert await world.repositories.list(n=10, visible=one_project) == (["a/b", "a/b/c", "a/z"], False)
    narrowed = Visible(everything=True, only=(RepositoryPattern("a/b/**"),))
    assert await world.repositories.list(n=10, visible=narrowed) == (["a/b", "a/b/c"], False)
    assert await world.repositories.list(n=10, visible=Visible()) == ([], False)
    found, total = await world.repositories.search("B", n=2, visible=one_project)
    assert ([one.name for one in found], total) == (["a/b", "a/b/c"], 2)
    found, total = await world.repositories.search("", n=2, page=2)
    assert (len(found), total) == (2, 5)
    assert await world.repositories.search("100%_", n=5) == ([], 0)


async def test_a_repository_made_again_is_another_one(world: World) -> None:
    """Ids are never used twice: what a token knew of the old one does not fit the new one."""
    await world.blob(LAYER)
    old = await world.repository(REPO)

    def bury(connection: Connection) -> None:
        connection.execute(update(repo).values(deleted_at=1))
        connection.execute(update(project).values(deleted_at=1))

    await world.catalog.write(bury)
    assert await world.repository(REPO) is None
    assert await world.blobs.find(REPO, DIGEST) is None
    await world.blob(b"other")
    new = await world.repository(REPO)
    assert old is not None
    assert new is not None
    assert new.id > old.id
    assert new.project_id > old.project_id
    assert await world.blobs.find(REPO, DIGEST) is None


async def test_referrers_are_listed_by_subject_from_the_first_push(world: World) -> None:
    """M6: a subject may be missing, itself a referrer, or in a circle of two; pages follow each other."""
    subject = await world.image(LAYER)
    described = {"mediaType": mediatype.OCI_MANIFEST, "digest": str(Digest.of(subject)), "size": len(subject)}
    pushed = {}
    for i in range(5):
        raw = await world.image(
            subject=described,
            artifactType=f"application/vnd.example.{'sbom' if i % 2 else 'signature'}",
            annotations={"i": str(i)},
        )
        done = await world.push(raw)
        assert done.subject == Digest.of(subject)
        pushed[str(Digest.of(raw))] = i
    plain = await world.image(subject=described)
    await world.push(plain)
    page = await world.referrers.list(REPO, Digest.of(subject), n=100)
    assert [str(one.digest) for one in page.descriptors] == sorted([*pushed, str(Digest.of(plain))])
    by_digest = {str(one.digest): one for one in page.descriptors}
    for digest, i in pushed.items():
        assert by_digest[digest].annotations == {"i": str(i)}
    assert by_digest[str(Digest.of(plain))].artifact_type == mediatype.OCI_CONFIG
    first = await world.referrers.list(REPO, Digest.of(subject), n=4)
    rest = await world.referrers.list(REPO, Digest.of(subject), last=str(first.descriptors[-1].digest), n=4)
    assert (first.descriptors + rest.descriptors, first.more, rest.more) == (page.descriptors, True, False)
    sboms = await world.referrers.list(
        REPO, Digest.of(subject), artifact_type="application/vnd.example.sbom", n=100
    )
    assert [pushed[str(one.digest)] % 2 for one in sboms.descriptors] == [1, 1]
    await world.manifests.delete_manifest(REPO, Digest.parse(next(iter(pushed))), actor=ALICE)
    assert len((await world.referrers.list(REPO, Digest.of(subject))).descriptors) == 5
    for repository, digest in (("no/where", Digest.of(subject)), (REPO, Digest("sha256", "0" * 64))):
        assert (await world.referrers.list(repository, digest)).descriptors == ()
    await world.push(subject, "v1")  # the subject may come last


@SQLITE_ONLY
async def test_a_fallback_tag_is_a_tag_like_any_other(world: World) -> None:
    raw = await world.image(LAYER)
    name = f"sha256-{Digest.of(raw).hex}"
    await world.push(index_of(), name)
    assert await world.tags.list(REPO, n=5) == ([name], False)
    assert (await world.referrers.list(REPO, Digest.of(raw))).descriptors == ()


async def test_a_tag_is_known_at_every_time_and_can_be_put_back(world: World) -> None:
    one, two = await world.image(b"1"), await world.image(b"2")
    times = []
    for step in (
        world.push(one, "v1"),
        world.push(two, "v1"),
        world.manifests.delete_tag(REPO, "v1", actor=ALICE),
    ):
        await step
        times.append(world.clock.steady())
        world.clock.advance(60)
    was = [await world.history.manifest_at(REPO, "v1", at) for at in (times[0] - 1, *times)]
    assert [None if one is None else one.raw for one in was] == [None, one, two, None]
    events, more = await world.of_tag("v1", n=2)
    assert [(event.old, event.new) for event in events] == [
        (str(Digest.of(two)), None),
        (str(Digest.of(one)), str(Digest.of(two))),
    ]
    assert more
    older, more = await world.of_tag("v1", before=events[-1].seq, n=2)
    assert ([event.new for event in older], more) == ([str(Digest.of(one))], False)
    with pytest.raises(Denied):
        await world.restore_tag("v1", Digest.of(one), permit=refusing("restore"))
    assert await world.restore_tag("v1", Digest.of(one)) is None
    assert await world.restore_tag("v1", Digest.of(two)) == str(Digest.of(one))
    found = await world.manifests.get(REPO, "v1")
    assert found is not None
    assert found.raw == two


async def test_restoring_brings_back_all_that_an_image_needs(world: World) -> None:
    child = await world.image(LAYER)
    await world.push(child)
    index = index_of(child)
    await world.push(index, "all")
    usage = await world.rows(project, "usage_bytes")
    for raw in (index, child):
        await world.manifests.delete_manifest(REPO, Digest.of(raw), actor=ALICE)
    await world.blobs.delete(REPO, DIGEST, actor=ALICE)
    assert await world.rows(project, "usage_bytes") != usage
    await world.restore_tag("all", Digest.of(index))
    for reference in ("all", Digest.of(child)):
        assert await world.manifests.get(REPO, reference) is not None
    assert await world.blobs.find(REPO, DIGEST) is not None
    assert await world.rows(project, "usage_bytes") == usage
    with pytest.raises(ManifestUnknown):
        await world.restore_tag("x", Digest.of(image_manifest(b"never")))


CLIENT = "alice 192.0.2.7"


async def counted(world: World) -> list[tuple[str, int]]:
    await world.pulls.flush()
    return [(name, count) for name, count in await world.rows(tag_pull, "name", "count")]


async def test_a_look_by_tag_and_a_get_by_its_digest_are_one_pull(world: World) -> None:
    """As docker asks; what else a pull reads by digest, an index's children, is none."""
    await world.push(await world.image(LAYER), "v1")
    found = await world.manifests.head(REPO, "v1")
    assert found is not None
    repo_id, digest, child = found.repo_id, str(found.digest), str(Digest.of(b"of one platform"))
    for _ in range(3):
        world.pulls.note_look(repo_id, digest, "v1", CLIENT)
        world.pulls.note(repo_id, digest, None, CLIENT)
        world.pulls.note(repo_id, child, None, CLIENT)
    assert await counted(world) == [("v1", 3)]
    world.pulls.note(repo_id, digest, None, CLIENT)
    assert await counted(world) == [("v1", 3)], "without a look before it"
    world.clock.advance(5)
    world.pulls.note_look(repo_id, digest, "v1", CLIENT)
    world.pulls.note(repo_id, digest, None, "bob 192.0.2.7")
    world.pulls.note(repo_id, child, None, CLIENT)
    assert await counted(world) == [("v1", 3)], "before it, somebody else's, and another manifest"
    world.clock.advance(61)
    world.pulls.note_look(repo_id, child, "v2", CLIENT)
    await counted(world)
    world.pulls.note(repo_id, digest, None, CLIENT)
    assert await counted(world) == [("v1", 3), ("v2", 0)], "long after the look"


async def test_the_two_halves_of_a_pull_may_reach_two_processes(world: World) -> None:
    """docker opens a connection for each. Whoever writes first, each pull is counted once."""
    await world.push(await world.image(LAYER), "v1")
    found = await world.manifests.head(REPO, "v1")
    assert found is not None
    other = Pulls(world.catalog, world.clock)
    for number, (first, second) in enumerate(((world.pulls, other), (other, world.pulls)), 1):
        for _ in range(3):
            world.pulls.note_look(found.repo_id, str(found.digest), "v1", CLIENT)
            other.note(found.repo_id, str(found.digest), None, CLIENT)
        for each in (first, second, first):
            await each.flush()
        assert await world.rows(tag_pull, "name", "count") == [("v1", 3 * number)]
    assert await world.rows(pull_look) == []


async def test_a_look_renews_when_a_tag_was_wanted_and_counts_nothing(world: World) -> None:
    await world.push(await world.image(LAYER), "v1")
    found = await world.manifests.head(REPO, "v1")
    assert found is not None
    world.pulls.note_look(found.repo_id, str(found.digest), "v1", CLIENT)
    assert await counted(world) == [("v1", 0)]
    assert await world.rows(tag_pull, "pulled_at") == [(world.clock.now(),)]
    assert await world.rows(tag_pull_day) == []


async def test_pulls_are_kept_by_day_and_forgotten_after_a_year(world: World) -> None:
    await world.push(await world.image(LAYER), "v1")
    found = await world.manifests.head(REPO, "v1")
    assert found is not None
    for _day in range(2):
        for _ in range(2):
            world.pulls.note(found.repo_id, str(found.digest), "v1", CLIENT)
            await world.pulls.flush()
        world.clock.advance(24 * 3600)
    days = [(count, day) for count, day in await world.rows(tag_pull_day, "count", "day")]
    assert [count for count, _day in days] == [2, 2]
    assert days[1][1] - days[0][1] == 1
    world.clock.advance(400 * 24 * 3600)
    world.pulls.note(found.repo_id, str(found.digest), "v1", CLIENT)
    await world.pulls.flush()
    assert len(await world.rows(tag_pull_day)) == 1


async def test_pulls_are_counted_in_batches(world: World) -> None:
    raw = await world.image(LAYER)
    await world.push(raw, "v1")
    found = await world.manifests.head(REPO, "v1")
    assert found is not None
    for _ in range(3):
        world.pulls.note(found.repo_id, str(found.digest), "v1", CLIENT)
    world.pulls.note(found.repo_id, str(found.digest), None, CLIENT)
    world.pulls.note(987, str(found.digest), "of-a-repository-that-is-gone", CLIENT)
    assert await world.rows(tag_pull) == []
    await world.pulls.flush()
    world.clock.advance(5)
    world.pulls.note(found.repo_id, str(found.digest), "v1", CLIENT)
    await world.pulls.flush()
    assert await world.pulls.flush() == 0
    assert await world.rows(tag_pull, "name", "count", "pulled_at") == [("v1", 4, world.clock.now())]
    assert await world.rows(manifest, "pulled_at") == [(world.clock.now(),)]
