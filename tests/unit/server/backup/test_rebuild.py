"""Images found again in blobs alone."""

from pathlib import Path

import pytest
import zstandard

from entrepot.oci.digest import Digest
from entrepot.server.backup.errors import TargetInUse
from entrepot.server.backup.rebuild import REPOSITORY, rebuild
from entrepot.server.repos.manifests import Manifests
from entrepot.server.upkeep.integrity.fsck import FsckSettings, fsck
from tests.support.images import gzipped, image, layer_tar
from tests.unit.server.conftest import Places
from tests.unit.server.world import World

pytestmark = pytest.mark.anyio


async def push(world: World, *blobs: bytes) -> None:
    for data in blobs:
        await world.push_blob(data)


async def test_images_come_back_with_their_ids(world: World, places: Places) -> None:
    """Layers packed with gzip, in several members, with zstd, and not at all; one image lacks a layer."""
    made = image([{"a": b"1"}, {"b": b"2"}, {"c": b"3"}])
    config = next(data for data in made.blobs.values() if data.startswith(b"{"))
    one, two, three = (layer_tar(files) for files in ({"a": b"1"}, {"b": b"2"}, {"c": b"3"}))
    await push(world, config, gzipped(one[:700]) + gzipped(one[700:]), zstandard.compress(two), three)
    lacking = image([{"a": b"1"}, {"never": b"pushed"}])
    await push(world, next(data for data in lacking.blobs.values() if data.startswith(b"{")))
    await push(world, b"belongs to nobody", b"{not json", b"\x1f\x8bnonsense", gzipped(b"x")[:-3])

    new = places.side("sqlite", "folder", "new")
    report = await rebuild(new.catalog, world.store)
    tag = made.config_digest.removeprefix("sha256:")[:12]
    assert report.images == [f"{REPOSITORY}:{tag}"]
    assert report.incomplete == [lacking.config_digest]
    assert report.unused == report.objects - 4
    found = await Manifests(new.catalog).get(REPOSITORY, tag)
    assert found is not None
    assert made.config_digest.encode() in found.raw
    assert (await fsck(new.catalog, world.store, FsckSettings(deep=True))).findings == []
    with pytest.raises(TargetInUse):
        await rebuild(new.catalog, world.store)


async def test_the_lost_catalog_is_not_served_again(world: World, places: Places) -> None:
    await push(world, b"x")
    new = places.side("sqlite", "folder", "new")
    await rebuild(new.catalog, world.store)
    marked = await world.store.read_identity()
    assert marked is not None
    assert (marked.store_id, marked.epoch) == ("test-store", 2)


async def test_export_is_what_other_tools_read(world: World, tmp_path: Path) -> None:
    from entrepot.layout.directory import ImageLayout
    from entrepot.server.backup.export import export

    plain = await world.push_image(b"layer", tag="v1")
    await world.push_manifest((await world.manifests.get("team/app", plain)).raw, tag="v2")  # type: ignore[union-attr]
    child = await world.push_image(b"child", tag=None)
    index = await world.push_index(child, tag="all")
    referrer = await world.push_image(b"signature", tag=None, subject=plain)
    await world.push_image(b"other", tag="v1", repository="other/app")
    for run in range(2):
        report = await export(world.catalog, world.store, tmp_path / "out", pattern="team/*")
        assert (report.repositories, report.manifests, report.tags) == (1, 4, 3), run
        assert report.problems == []
    layout = ImageLayout(tmp_path / "out" / "team" / "app")
    assert {name: layout.get_manifest(name).digest for name in ("v1", "v2", "all")} == {
        "v1": plain,
        "v2": plain,
        "all": index,
    }
    assert [one.digest for one in layout.list_referrers(plain)] == [referrer]
    assert layout.blob_path(Digest.of(b"child")).read_bytes() == b"child"
    assert not (tmp_path / "out" / "other").exists()


async def test_export_names_what_is_damaged(world: World, tmp_path: Path) -> None:
    from entrepot.server.backup.export import export

    broken = await world.push_image(b"layer", tag="v1")
    (world.root / await world.phys(Digest.of(b"layer"))).write_bytes(b"reyal")
    await world.push_image(b"fine", tag="v2")
    report = await export(world.catalog, world.store, tmp_path / "out")
    assert report.manifests == 1
    assert len(report.problems) == 1
    assert str(broken) in report.problems[0]


async def test_docker_images_become_oci_ones_when_asked(world: World, tmp_path: Path) -> None:
    """Their IDs stay: the config's digest. Manifests that have no name are listed all the same."""
    import json

    from entrepot.layout.directory import ImageLayout
    from entrepot.server.backup.export import export

    for data in (b"{}", b"layer"):
        await world.push_blob(data)
    kinds = {"config": "container.image.v1+json", "layer": "image.rootfs.diff.tar.gzip"}

    def part(data: bytes, kind: str) -> dict[str, object]:
        media_type = f"application/vnd.docker.{kinds[kind]}"
        return {"mediaType": media_type, "digest": str(Digest.of(data)), "size": len(data)}

    docker = "application/vnd.docker.distribution.manifest"
    body = {"schemaVersion": 2, "config": part(b"{}", "config"), "layers": [part(b"layer", "layer")]}
    raw = json.dumps({**body, "mediaType": f"{docker}.v2+json"}).encode()
    child = await world.push_manifest(raw, tag=None, media_type=f"{docker}.v2+json")
    entry = {"mediaType": f"{docker}.v2+json", "digest": str(child), "size": len(raw)}
    entry["platform"] = {"os": "linux", "architecture": "amd64"}
    many = json.dumps({"schemaVersion": 2, "mediaType": f"{docker}.list.v2+json", "manifests": [entry]})
    await world.push_manifest(many.encode(), tag="all", media_type=f"{docker}.list.v2+json")
    unnamed = await world.push_image(b"unnamed", tag=None)
    report = await export(world.catalog, world.store, tmp_path / "out", convert=True)
    assert report.problems == []
    layout = ImageLayout(tmp_path / "out" / "team" / "app")
    index = json.loads(layout.get_manifest("all").raw)
    assert index["mediaType"] == "application/vnd.oci.image.index.v1+json"
    image = json.loads(layout.get_manifest(Digest.parse(index["manifests"][0]["digest"])).raw)
    assert index["manifests"][0]["platform"] == entry["platform"]
    assert image["mediaType"] == index["manifests"][0]["mediaType"] != f"{docker}.v2+json"
    assert image["config"]["digest"] == str(Digest.of(b"{}"))
    assert [one["mediaType"] for one in image["layers"]] == ["application/vnd.oci.image.layer.v1.tar+gzip"]
    assert [one.descriptor.digest for one in layout.read_index() if one.ref_name is None] == [unnamed]
