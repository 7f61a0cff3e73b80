"""Manifests: pushed, tagged and deleted, all or nothing."""

import asyncio
import json
import re
from typing import Any

import pytest
from sqlalchemy import Connection, delete, update

from entrepot.errors import Denied
from entrepot.oci import mediatype
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import InvalidManifest, ManifestTooLarge
from entrepot.server.db.tables import (
    audit,
    blob,
    event,
    manifest,
    manifest_blob,
    manifest_child,
    manifest_missing,
    project,
    repo_blob,
    tag,
    tag_event,
)
from entrepot.server.repos.errors import (
    ContentMismatch,
    ManifestBlobUnknown,
    ManifestUnknown,
    NameUnknown,
    PreconditionFailed,
    QuotaExceeded,
    TooManyTags,
)
from tests.contract.db.catalogs import SQLITE_ONLY
from tests.contract.repos.world import (
    ALICE,
    REPO,
    World,
    config_of,
    described,
    image_manifest,
    index_of,
    refusing,
)

pytestmark = pytest.mark.anyio


async def digest_of(world: World, reference: str, repository: str = REPO) -> str | None:
    found = await world.manifests.head(repository, reference)
    return None if found is None else str(found.digest)


async def test_a_manifest_comes_back_byte_for_byte(world: World) -> None:
    raw = await world.image(b"layer", annotations={"b": "ü", "a": "1"})
    done = await world.push(raw, "v1")
    assert (done.digest, done.tags, done.created, done.subject) == (Digest.of(raw), ("v1",), True, None)
    for reference in ("v1", Digest.of(raw)):
        found = await world.manifests.get(REPO, reference)
        assert found is not None
        assert (found.raw, found.media_type) == (raw, mediatype.OCI_MANIFEST)
        seen = await world.manifests.head(REPO, reference)
        assert seen is not None
        assert (seen.raw, seen.size, seen.digest) == (b"", len(raw), Digest.of(raw))
    assert await world.manifests.get(REPO, "v2") is None
    assert await world.manifests.get(REPO, Digest.of(b"")) is None
    assert await world.manifests.get("team/other", "v1") is None


async def test_a_push_writes_all_its_records_in_one_transaction(world: World) -> None:
    """C2: tag, history, audit row and event are there exactly if the manifest is."""
    one, two = await world.image(b"1"), await world.image(b"2")
    for raw in (one, two, two):
        await world.push(raw, "v1")
    first, second = str(Digest.of(one)), str(Digest.of(two))
    assert await world.rows(tag, "name", "digest", "version") == [("v1", second, 2)]
    assert await world.rows(tag_event, "seq", "name", "old", "new", "by") == [
        (1, "v1", None, first, "alice"),
        (2, "v1", first, second, "alice"),
    ]
    assert await world.rows(audit, "seq", "action", "repository", "tag", "old", "new") == [
        (1, "create-project", "team", None, None, None),
        (2, "create-repository", REPO, None, None, None),
        (3, "create-tag", REPO, "v1", None, first),
        (4, "overwrite-tag", REPO, "v1", first, second),
        (5, "push", REPO, "v1", None, second),
    ]
    assert (await world.rows(audit, "principal", "address", "token_id", "request_id"))[0] == (
        "alice",
        "192.0.2.7",
        "t1",
        "r1",
    )
    told = await world.rows(event, "id", "kind", "payload")
    assert [kind for _, kind, _ in told] == ["create-project", "create-repository", "push", "push", "push"]
    events = [json.loads(payload) for _, kind, payload in told if kind == "push"]
    assert [one["digest"] for one in events] == [first, second, second]
    assert events[1]["replaced"] == {"v1": first}


async def test_a_failure_at_any_step_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """C2: whatever goes wrong inside the transaction, the old tag stays as it was."""
    from entrepot.server.repos import manifestput

    old, new = await world.image(b"old"), await world.image(b"new")
    await world.push(old, "v1")
    before = await everything(world)
    for step in (
        "insert_row",
        "_refer",
        "_set_tags",
        "write_tag_event",
        "record_change",
        "write_event",
        "add_usage",
    ):
        with monkeypatch.context() as broken:
            broken.setattr(manifestput, step, _fails)
            with pytest.raises(LookupError):
                await world.push(new, "v1")
        assert await everything(world) == before
    for action in ("push", "overwrite-tag"):
        with pytest.raises(Denied):
            await world.push(new, "v1", permit=refusing(action))
        assert await everything(world) == before
    with pytest.raises(Denied):
        await world.push(new, "v2", permit=refusing("create-tag"))
    assert await everything(world) == before
    await world.push(new, "v1")
    assert await digest_of(world, "v1") == str(Digest.of(new))


async def test_a_manifest_keeps_its_media_type(world: World) -> None:
    """Who has a digest of it, or reads what a tag was, gets what was there; also after it was deleted."""
    typed = await world.image(b"layer")
    fields = json.loads(typed)
    del fields["mediaType"]
    raw = json.dumps(fields).encode()
    digest = Digest.of(raw)
    other = "application/vnd.example+json"
    await world.push(raw, "v1", media_type=mediatype.OCI_MANIFEST)
    before = await everything(world)

    async def check_refused() -> None:
        for more in ({"tag": "v1"}, {"tag": "v2"}, {"digest": digest}):
            with pytest.raises(InvalidManifest, match=re.escape(mediatype.OCI_MANIFEST)):
                await world.manifests.put(REPO, raw=raw, media_type=other, actor=ALICE, **more)

    await check_refused()
    assert await everything(world) == before
    world.clock.advance(3600)
    await check_refused()
    assert await everything(world) == before
    await world.manifests.delete_manifest(REPO, digest, actor=ALICE)
    await check_refused()
    await world.push(raw, "v1", media_type=None)
    found = await world.manifests.get(REPO, digest)
    assert found is not None
    assert (found.media_type, found.raw) == (mediatype.OCI_MANIFEST, raw)
    await world.blob(b"layer", "team/other")
    await world.blob(config_of([b"layer"]), "team/other")
    await world.push(raw, "v1", "team/other", media_type=other)  # a repository of its own
    assert (await world.manifests.get(REPO, digest)) == found


def _fails(*_: Any, **__: Any) -> Any:
    raise LookupError("a step that fails")


async def everything(world: World) -> list[Any]:
    tables = (manifest, manifest_blob, tag, tag_event, audit, event, project)
    return [await world.rows(table) for table in tables]


@SQLITE_ONLY
async def test_missing_references_are_named(world: World) -> None:
    """M4: and what another repository has is as unknown as what nobody has."""
    raw = image_manifest(b"layer")
    await world.blob(config_of([b"layer"]))
    await world.blob(b"layer", "team/other")
    with pytest.raises(ManifestBlobUnknown) as elsewhere:
        await world.push(raw, "v1")
    nowhere = image_manifest(b"lay3r")
    await world.blob(config_of([b"lay3r"]))
    with pytest.raises(ManifestBlobUnknown) as unknown:
        await world.push(nowhere, "v1")
    assert elsewhere.value.digests == (str(Digest.of(b"layer")),)
    assert elsewhere.value.message.replace(str(Digest.of(b"layer")), "X") == unknown.value.message.replace(
        str(Digest.of(b"lay3r")), "X"
    )
    with pytest.raises(ManifestBlobUnknown):
        await world.push(index_of(raw), "v1")
    assert await world.manifests.get(REPO, "v1") is None
    await world.blob(b"layer")
    await world.push(raw, "v1")
    await world.push(index_of(raw), "all")


@SQLITE_ONLY
@pytest.mark.parametrize("size", [0, 4, 6, 2**62])
async def test_a_size_that_lies_is_refused(world: World, size: int) -> None:
    """M7."""
    raw = await world.image(b"layer")
    await world.push(raw)
    document = json.loads(raw)
    document["layers"][0]["size"] = size
    with pytest.raises(InvalidManifest, match="has 5 bytes"):
        await world.push(json.dumps(document).encode())
    index = json.loads(index_of(raw))
    index["manifests"][0]["size"] = size
    with pytest.raises(InvalidManifest, match=f"has {len(raw)} bytes"):
        await world.push(json.dumps(index).encode())


async def test_sparse_references_wait_for_what_is_missing(world: World) -> None:
    for_index, for_all = world.with_limits(sparse="index"), world.with_limits(sparse="all")
    child = image_manifest(b"layer")
    index = index_of(child)
    await for_index.push(index, "all")
    assert await world.rows(manifest_missing, "digest", "kind") == [(str(Digest.of(child)), "manifest")]
    with pytest.raises(ManifestBlobUnknown):
        await for_index.push(child)
    await for_all.push(child)
    assert await world.rows(manifest_child, "digest") == [(str(Digest.of(child)),)]
    missing = await world.rows(manifest_missing, "digest", "kind")
    assert missing == sorted((str(Digest.of(one)), "blob") for one in (b"layer", config_of([b"layer"])))
    await world.blob(b"layer", "team/other")
    await world.blobs.mount(REPO, Digest.of(b"layer"), "team/other", actor=ALICE)
    await world.blob(config_of([b"layer"]))
    assert await world.count(manifest_missing) == 0
    assert await world.count(manifest_blob) == 2


@SQLITE_ONLY
async def test_children_of_a_type_nobody_knows_may_be_blobs_or_manifests(world: World) -> None:
    raw = await world.image(b"layer")
    await world.push(raw)
    await world.push(index_of(raw, media_type="application/vnd.example.thing"), "manifest")
    await world.push(index_of(b"layer", media_type="application/vnd.example.thing"), "blob")
    with pytest.raises(ManifestBlobUnknown):
        await world.push(index_of(b"nothing", media_type="application/vnd.example.thing"))


@SQLITE_ONLY
async def test_indexes_nest_to_a_limit(world: World) -> None:
    """M5."""
    raw = await world.image(b"layer")
    await world.push(raw)
    for _ in range(world.limits.index_depth):
        raw = index_of(raw, raw, media_type=mediatype.OCI_MANIFEST)
        await world.push(raw)
    with pytest.raises(InvalidManifest, match="deep"):
        await world.push(index_of(raw))


@SQLITE_ONLY
async def test_an_index_of_a_shared_child_is_stored_once(world: World) -> None:
    raw = await world.image(b"layer")
    await world.push(raw)
    await world.push(index_of(raw, raw), "twice")
    assert await world.count(manifest_child) == 1


@SQLITE_ONLY
async def test_limits_and_digests_are_checked_first(world: World) -> None:
    """M1: and nothing is created for what is refused."""
    raw = image_manifest(b"layer")
    with pytest.raises(ContentMismatch):
        await world.push(raw, digest=Digest.of(b"other"))
    with pytest.raises(ManifestTooLarge):
        await world.push(b" " * (4 * 1024 * 1024 + 1))
    with pytest.raises(TooManyTags):
        await world.push(raw, extra_tags=[f"t{i}" for i in range(33)])
    with pytest.raises(InvalidManifest):
        await world.manifests.put(REPO, raw=raw, media_type=mediatype.OCI_INDEX, actor=ALICE)
    with pytest.raises(InvalidManifest):
        await world.push(b"{" * 100_000)  # large enough to be parsed in a thread
    assert await world.repository(REPO) is None


async def test_a_push_by_digest_takes_several_tags_and_algorithms(world: World) -> None:
    raw = await world.image(b"layer")
    long = Digest.of(raw, "sha512")
    done = await world.push(raw, digest=long, extra_tags=["b", "a", "b"])
    assert (done.digest, done.tags) == (long, ("b", "a"))
    found = await world.manifests.get(REPO, "a")
    assert found is not None
    assert found.digest == long
    await world.push(raw, "sha256")
    assert await world.count(manifest) == 2


async def test_preconditions_are_decided_in_the_transaction(world: World) -> None:
    one, two = await world.image(b"1"), await world.image(b"2")
    first, second = str(Digest.of(one)), str(Digest.of(two))
    with pytest.raises(PreconditionFailed) as absent:
        await world.push(one, "v1", if_match=["*"])
    assert absent.value.current is None
    await world.push(one, "v1", if_none_match_any=True)
    with pytest.raises(PreconditionFailed) as there:
        await world.push(two, "v1", if_none_match_any=True)
    assert there.value.current == first
    with pytest.raises(PreconditionFailed):
        await world.push(two, "v1", if_match=[second])
    await world.push(two, "v1", if_match=[second, first])
    await world.push(one, "v1", if_match=["*"])
    with pytest.raises(PreconditionFailed):
        await world.push(one, if_none_match_any=True)
    await world.push(await world.image(b"3"), if_none_match_any=True)


async def test_of_many_who_move_a_tag_from_the_same_place_one_succeeds(world: World) -> None:
    start = await world.image(b"start")
    await world.push(start, "v1")
    images = [await world.image(b"%d" % i) for i in range(5)]
    for condition in ({"if_match": [str(Digest.of(start))]}, {"if_none_match_any": True}):
        name = "v1" if "if_match" in condition else "new"
        results = await asyncio.gather(
            *(world.worker().push(raw, name, **condition) for raw in images), return_exceptions=True
        )
        assert [type(result) for result in results].count(PreconditionFailed) == 4, results


async def test_pushes_that_share_layers_in_any_order_do_not_collide(world: World) -> None:
    """B3: digests are locked in sorted order."""
    layers = [b"layer %d" % i for i in range(6)]
    images = [
        await world.image(*order) for order in (layers, layers[::-1], layers[3:] + layers[:3], layers[1:])
    ]
    results = await asyncio.gather(
        *(
            world.push(raw, f"t{i % 3}", extra_tags=["a", "b"][:: 1 - 2 * (i % 2)])
            for i, raw in enumerate(images * 3)
        )
    )
    assert len(results) == 12


async def test_deleting_a_tag_leaves_the_manifest(world: World) -> None:
    raw = await world.image(b"layer")
    await world.push(raw, "v1", extra_tags=["v2"])
    assert await world.manifests.delete_tag(REPO, "v1", actor=ALICE) == Digest.of(raw)
    assert [await digest_of(world, name) for name in ("v1", "v2")] == [None, str(Digest.of(raw))]
    assert await world.manifests.get(REPO, Digest.of(raw)) is not None
    with pytest.raises(ManifestUnknown):
        await world.manifests.delete_tag(REPO, "v1", actor=ALICE)
    with pytest.raises(NameUnknown):
        await world.manifests.delete_tag("no/where", "v1", actor=ALICE)
    with pytest.raises(Denied):
        await world.manifests.delete_tag(REPO, "v2", actor=ALICE, permit=refusing("delete-tag"))
    assert await digest_of(world, "v2") is not None


async def test_deleting_a_manifest_takes_its_tags_and_a_push_brings_it_back(world: World) -> None:
    raw = await world.image(b"layer")
    digest = Digest.of(raw)
    await world.push(raw, "b", extra_tags=["a"])
    for action in ("delete-manifest", "delete-tag"):
        with pytest.raises(Denied):
            await world.manifests.delete_manifest(REPO, digest, actor=ALICE, permit=refusing(action))
    assert await world.manifests.delete_manifest(REPO, digest, actor=ALICE) == ("a", "b")
    assert await world.worker().manifests.get(REPO, digest) is None
    assert await world.tags.list(REPO, n=10) == ([], False)
    with pytest.raises(ManifestUnknown):
        await world.manifests.delete_manifest(REPO, digest, actor=ALICE)
    with pytest.raises(ManifestBlobUnknown):
        await world.push(index_of(raw))  # a tombstone is no child
    assert (await world.rows(tag_event, "seq", "name", "old", "new"))[-1][1:] == ("b", str(digest), None)
    assert (await world.push(raw, "c")).created
    assert await digest_of(world, "c") == str(digest)
    assert await world.count(manifest_blob) == 2


async def test_a_child_is_deleted_or_put_into_an_index_in_one_order(world: World) -> None:
    """G3: one of two defined outcomes, never an index whose child row is gone."""
    child = await world.image(b"child")
    for _ in range(4):
        await world.push(child)
        put, removed = await asyncio.gather(
            world.worker().push(index_of(child), "all"),
            world.manifests.delete_manifest(REPO, Digest.of(child), actor=ALICE),
            return_exceptions=True,
        )
        assert removed == ()
        assert isinstance(put, ManifestBlobUnknown) or put.tags == ("all",)
    assert await world.count(manifest) <= 2


async def test_collection_can_not_take_what_a_push_refers_to(world: World) -> None:
    """G1: whoever is second is stopped by a foreign key, and nothing acknowledged is lost."""
    raw = await world.image(b"layer")
    digest = str(Digest.of(b"layer"))

    def collect(connection: Connection) -> bool:
        for table in (repo_blob, blob):
            connection.execute(delete(table).where(table.c.digest == digest))
        return True

    for _ in range(4):
        await world.blob(b"layer")
        pushed, collected = await asyncio.gather(
            world.push(raw, "v1"), world.catalog.write(collect), return_exceptions=True
        )
        assert isinstance(pushed, ManifestBlobUnknown) != (collected is not True)
        if not isinstance(pushed, Exception):
            assert await world.blobs.find(REPO, Digest.of(b"layer")) is not None
            return
    # The push has lost each time: it succeeds when the blob is sent again.
    await world.blob(b"layer")
    await world.push(raw, "v1")


async def test_usage_is_what_live_manifests_and_links_take(world: World) -> None:
    raw = await world.image(b"layer")
    blobs = len(b"layer") + len(config_of([b"layer"]))
    await world.push(raw, "v1")
    await world.push(raw, "v2")
    await world.blob(b"layer")
    assert await world.rows(project, "usage_bytes") == [(blobs + len(raw),)]
    await world.manifests.delete_manifest(REPO, Digest.of(raw), actor=ALICE)
    assert await world.rows(project, "usage_bytes") == [(blobs,)]
    await world.blobs.delete(REPO, Digest.of(b"layer"), actor=ALICE)
    await world.blob(b"layer")
    await world.push(raw, "v1")
    assert await world.rows(project, "usage_bytes") == [(blobs + len(raw),)]


async def test_a_full_project_takes_no_more(world: World) -> None:
    raw = await world.image(b"layer")
    room = len(b"layer") + len(config_of([b"layer"])) + len(raw)
    await world.catalog.write(
        lambda connection: connection.execute(update(project).values(quota_bytes=room - 1)) and None
    )
    with pytest.raises(QuotaExceeded, match="team"):
        await world.push(raw, "v1")
    with pytest.raises(QuotaExceeded):
        await world.blob(b"x" * 1000)
    assert await world.blobs.find(REPO, Digest.of(b"x" * 1000)) is None
    await world.catalog.write(
        lambda connection: connection.execute(update(project).values(quota_bytes=room)) and None
    )
    await world.push(raw, "v1")


@SQLITE_ONLY
async def test_a_tag_may_change_its_kind(world: World) -> None:
    raw = await world.image(b"layer")
    await world.push(raw, "latest")
    await world.push(index_of(raw), "latest")
    found = await world.manifests.get(REPO, "latest")
    assert found is not None
    assert found.media_type == mediatype.OCI_INDEX


@SQLITE_ONLY
async def test_foreign_layers_are_not_asked_for(world: World) -> None:
    foreign = described(b"windows", mediatype.DOCKER_FOREIGN_LAYER, urls=["https://example.org/layer"])
    document = json.loads(await world.image(b"layer"))
    document["layers"].append(foreign)
    await world.push(json.dumps(document).encode(), "win")
