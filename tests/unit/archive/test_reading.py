"""Archives of every writer are read; nothing is taken from one that lies (K2, K3)."""

import bz2
import io
import json
import lzma
import os
import tarfile
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from entrepot.archive import tarfile as tarfile_module
from entrepot.archive.errors import AmbiguousArchive, InvalidArchive, NotInArchive
from entrepot.archive.reading import Archive, open_archive
from entrepot.archive.tarfile import TarArchive
from entrepot.content.graph import walk
from entrepot.content.memory import MemoryStore
from entrepot.content.verify import VerifiedReader
from entrepot.errors import EntrepotError, NotFound, Unavailable, VerificationFailed
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest
from tests.support.images import gzipped, layer_tar
from tests.unit.archive import builders
from tests.unit.archive.builders import BASE, CONFIG, TOP, Content, sha256, table, tar

WRITERS = {
    "docker before 25": builders.legacy_members,
    "skopeo, podman, buildah": builders.skopeo_members,
    "crane": builders.crane_members,
    "bazel": builders.bazel_members,
}
LAYER_PATHS = ["base.tar", "top.tar"]


def members(**changes: Content) -> dict[str, Content]:
    """A plain archive with something changed."""
    plain: dict[str, Content] = {
        "config.json": CONFIG,
        "base.tar": BASE,
        "top.tar": TOP,
        "manifest.json": table("config.json", LAYER_PATHS, ["a:1"]),
    }
    return plain | {name.replace("_", "."): content for name, content in changes.items()}


def without(name: str) -> dict[str, Content]:
    return {key: content for key, content in members().items() if key != name}


def opened(data: bytes) -> Archive:
    return open_archive(io.BytesIO(data))


def load(archive: Archive) -> MemoryStore:
    """Everything of an archive, verified on its way."""
    store = MemoryStore()
    for image in archive.images:
        for node in walk(archive, image.target.digest):
            for blob in node.blobs:
                with archive.open_blob(blob) as stream:
                    store.put_blob(blob, stream)
            store.put_manifest(node.manifest, None)
    return store


@pytest.mark.parametrize("writer", WRITERS)
def test_what_others_write_is_read_with_the_same_image_id(writer: str) -> None:
    with opened(tar(WRITERS[writer]())) as archive:
        assert archive.format == "docker"
        (image,) = archive.images
        assert image.image_id == Digest.of(CONFIG)
        manifest = archive.get_manifest("").parse()
        assert isinstance(manifest, ImageManifest)
        store = load(archive)
    assert store.blobs[Digest.of(CONFIG)] == CONFIG
    contents = [store.blobs[layer.digest] for layer in manifest.layers]
    plain = [BASE, TOP]
    assert all(data in (tar_, gzipped(tar_)) for data, tar_ in zip(contents, plain, strict=True))


def test_names_are_those_of_the_archive() -> None:
    with opened(tar(builders.legacy_members())) as archive:
        (image,) = archive.images
        assert [reference.familiar() for reference in image.references] == ["bb:1", "bb:one"]
        for name in ("", "bb:1", "docker.io/library/bb:one", "one", "@0"):
            assert archive.find(name) == image
        for name in ("bb:2", "cc", "@1"):
            with pytest.raises(NotInArchive):
                archive.find(name)


def test_one_of_several_images_has_to_be_named() -> None:
    other = builders.config_of(BASE, created="2020-01-01T00:00:00Z")
    several = [
        {"Config": "config.json", "RepoTags": ["a:1"], "Layers": LAYER_PATHS},
        {"Config": "other.json", "RepoTags": ["b:1"], "Layers": ["base.tar"]},
    ]
    data = tar(members(manifest_json=json.dumps(several).encode(), other_json=other))
    with opened(data) as archive:
        assert [image.image_id for image in archive.images] == [Digest.of(CONFIG), Digest.of(other)]
        assert archive.find("b:1").image_id == archive.find("@1").image_id == Digest.of(other)
        for name in ("", "1"):
            with pytest.raises(AmbiguousArchive) as caught:
                archive.find(name)
            assert caught.value.hint == "name one of: a:1, b:1"
        assert len(load(archive).manifests) == 2


COMPRESSIONS = {
    "plain": bytes,
    "gzip": gzipped,
    "gzip in members": lambda data: gzipped(data[:1000]) + gzipped(data[1000:]),
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("way", ["path", "file", "pipe", "stream"])
def test_archives_come_compressed_and_by_every_way(tmp_path: Path, compression: str, way: str) -> None:
    data = COMPRESSIONS[compression](tar(builders.skopeo_members()))
    path = tmp_path / "archive"
    path.write_bytes(data)
    if way == "path":
        archive = open_archive(path, tmp=tmp_path)
    elif way == "file":
        with path.open("rb") as file:
            archive = open_archive(file, tmp=tmp_path)
    elif way == "stream":
        archive = open_archive(io.BytesIO(data), tmp=tmp_path)
    else:
        reading, writing = os.pipe()

        def feed() -> None:
            with os.fdopen(writing, "wb") as file:
                file.write(data)

        thread = threading.Thread(target=feed)
        thread.start()
        with os.fdopen(reading, "rb") as pipe:
            archive = open_archive(pipe, tmp=tmp_path)
        thread.join()
    with archive:
        assert archive.images[0].image_id == Digest.of(CONFIG)
        assert len(load(archive).blobs) == 3
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive"]


def test_a_blob_is_read_from_any_offset_and_at_once() -> None:
    with opened(tar(members())) as archive:
        layer = archive.get_manifest("").parse().references()[0][1]
        with archive.open_blob(layer, offset=100) as stream, archive.open_blob(layer) as other:
            buffer = bytearray(50)
            assert other.readinto(buffer) == 50
            assert (bytes(buffer), stream.read(10), stream.read()) == (BASE[:50], BASE[100:110], BASE[110:])
            assert (stream.read(), stream.readinto(buffer)) == (b"", 0)
        nowhere = type(layer)(layer.media_type, Digest.of(b"nowhere"), 7)
        with pytest.raises(NotFound):
            archive.open_blob(nowhere)
        with pytest.raises(NotFound):
            archive.get_manifest(nowhere.digest)


def chained(links: int) -> dict[str, Content]:
    many: dict[str, Content] = {f"l{n}": (tarfile.SYMTYPE, f"l{n + 1}") for n in range(links)}
    return without("base.tar") | {"base.tar": (tarfile.SYMTYPE, "l0"), **many, f"l{links}": BASE}


FOLLOWED = {
    "symbolic link": without("base.tar")
    | {"base.tar": (tarfile.SYMTYPE, "./x/../real.tar"), "real.tar": BASE},
    "absolute link, within the archive": without("base.tar")
    | {"base.tar": (tarfile.SYMTYPE, "/real.tar"), "real.tar": BASE},
    "hard link": {"real.tar": BASE} | without("base.tar") | {"base.tar": (tarfile.LNKTYPE, "real.tar")},
    "links in a row": chained(3),
    "names with ./": {f"./{name}": content for name, content in members().items()},
    "extra files": members(README=b"hello", x_y=b""),
    "directories twice": [("d/", b""), ("d/", b""), *members().items()],
    "a whole archive in one layer twice": members(
        config_json=builders.config_of(BASE, BASE),
        manifest_json=table("config.json", ["base.tar", "base.tar"], None),
    ),
    "no names": members(manifest_json=table("config.json", LAYER_PATHS, None)),
    "no layers": members(
        config_json=builders.config_of(), manifest_json=table("config.json", [], ["scratch:1"])
    ),
}


@pytest.mark.parametrize("name", FOLLOWED)
def test_harmless_oddities_are_read(name: str) -> None:
    with opened(tar(FOLLOWED[name])) as archive:
        assert load(archive).manifests


def item(**fields: object) -> bytes:
    return json.dumps(
        [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": LAYER_PATHS} | fields]
    ).encode()


def raw_header(name: bytes, size: bytes = b"00000000000") -> bytes:
    block = bytearray(512)
    block[: len(name)] = name
    block[100:107], block[108:115], block[116:123] = b"0000644", b"0000000", b"0000000"
    block[124 : 124 + len(size)] = size
    block[136:147], block[156:157], block[257:263] = b"00000000000", b"0", b"ustar\0"
    block[148:156] = b" " * 8
    block[148:155] = b"%06o\0" % sum(block)
    return bytes(block)


REFUSED = {
    "k3 entry above the archive": tar(members() | {"../evil": b"x"}),
    "k3 entry above, deep": tar(members() | {"a/../../evil": b"x"}),
    "k3 absolute entry": tar(members() | {"/etc/passwd": b"x"}),
    "k3 two files of one name": tar([*members().items(), ("base.tar", TOP)]),
    "k3 two files of one name, spelled apart": tar([*members().items(), ("./base.tar", TOP)]),
    "k3 file and link of one name": tar([*members().items(), ("base.tar", (tarfile.SYMTYPE, "top.tar"))]),
    "k3 link above the archive": tar(
        without("base.tar") | {"base.tar": (tarfile.SYMTYPE, "../../etc/passwd")}
    ),
    "k3 hard link above the archive": tar(
        without("base.tar") | {"base.tar": (tarfile.LNKTYPE, "../etc/passwd")}
    ),
    "k3 loop of links": tar(
        without("base.tar") | {"base.tar": (tarfile.SYMTYPE, "x"), "x": (tarfile.SYMTYPE, "base.tar")}
    ),
    "k3 too many links": tar(chained(20)),
    "k3 device": tar(members() | {"dev": (tarfile.CHRTYPE, "")}),
    "k3 data after the end": tar(members()) + tar(members()),
    "k3 wrong checksum": tar(members()).replace(b"base.tar\0", b"case.tar\0"),
    "k3 cut off in a layer": tar(members())[:2048],
    "k3 size beyond the file": tar(members()).rstrip(b"\0") + raw_header(b"x", b"77777777777"),
    "k3 negative size": raw_header(b"x", b"\xff" * 12),
    "config above the archive": tar(members(manifest_json=item(Config="../config.json"))),
    "layer above the archive": tar(members(manifest_json=item(Layers=["../base.tar", "top.tar"]))),
    "absolute layer": tar(members(manifest_json=item(Layers=["/base.tar", "top.tar"]))),
    "missing layer": tar(without("top.tar")),
    "missing config": tar(without("config.json")),
    "one layer too few": tar(members(manifest_json=item(Layers=["base.tar"]))),
    "one layer too many": tar(members(manifest_json=item(Layers=[*LAYER_PATHS, "top.tar"]))),
    "gzipped layer of another content": tar(members(base_tar=gzipped(TOP))),
    "gzipped layer, damaged": tar(members(base_tar=gzipped(BASE)[:-9])),
    "config of another digest": tar(
        members(manifest_json=table("f" * 64 + ".json", LAYER_PATHS, None)) | {"f" * 64 + ".json": CONFIG}
    ),
    "config no JSON": tar(members(config_json=b"{")),
    "config with a path for a digest": tar(
        members(config_json=b'{"rootfs":{"diff_ids":["sha256:../../x"]}}')
    ),
    "k7 name with a path": tar(members(manifest_json=item(RepoTags=["../../x:1"]))),
    "k7 name like an option": tar(members(manifest_json=item(RepoTags=["--foo"]))),
    "name without a tag": tar(members(manifest_json=item(RepoTags=["a"]))),
    "table no JSON": tar(members(manifest_json=b"[")),
    "table an object": tar(members(manifest_json=b"{}")),
    "table with numbers": tar(members(manifest_json=b"[1]")),
    "table with a field twice": tar(members(manifest_json=b'[{"Config":"config.json","Config":"x"}]')),
    "layers a text": tar(members(manifest_json=item(Layers="base.tar"))),
    "k2 table of 17 MiB": tar(members(manifest_json=b" " * (17 << 20))),
    "neither table nor index": tar({"etc/passwd": b"root"}),
    "docker 1.9": tar({"repositories": b"{}", "aaaa/layer.tar": BASE}),
    "empty": b"",
    "zeros": bytes(10240),
    "text": b"this is no archive, however long it may be\n" * 100,
    "gzip of text": gzipped(b"no archive"),
    "gzip cut off": gzipped(tar(members()))[:-20],
    "zstd garbage": b"\x28\xb5\x2f\xfd" + b"garbage" * 10,
    "xz garbage": b"\xfd7zXZ\x00" + b"garbage" * 10,
    "bzip2 garbage": b"BZh9" + b"garbage" * 10,
}


@pytest.mark.parametrize("name", REFUSED)
def test_an_archive_that_lies_is_refused_whole(name: str, tmp_path: Path) -> None:
    path = tmp_path / "archive.tar"
    path.write_bytes(REFUSED[name])
    for source in (path, io.BytesIO(REFUSED[name])):
        with pytest.raises(InvalidArchive):
            open_archive(source, tmp=tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["archive.tar"]


def test_a_plain_layer_of_another_content_is_found_out_when_it_is_read() -> None:
    with opened(tar(members(base_tar=layer_tar({"evil": b"x"})))) as archive:
        layer = archive.get_manifest("").parse().references()[0][1]
        with archive.open_blob(layer) as stream, pytest.raises(VerificationFailed):
            VerifiedReader(stream, layer).read()


def test_messages_name_the_archive_and_the_thing(tmp_path: Path) -> None:
    path = tmp_path / "broken.tar"
    path.write_bytes(tar(without("top.tar")))
    with pytest.raises(InvalidArchive, match=r"broken\.tar is not whole: the layer top\.tar is missing"):
        open_archive(path)
    path.write_bytes(tar(members(manifest_json=item(Layers=["base.tar"]))))
    with pytest.raises(InvalidArchive, match="layers length mismatch: expected 2, got 1"):
        open_archive(path)
    path.write_bytes(tar(members(base_tar=gzipped(TOP))))
    with pytest.raises(InvalidArchive, match=f'invalid diffID for layer 0: expected "sha256:{sha256(BASE)}"'):
        open_archive(path)


def test_layers_are_passed_over_not_read(tmp_path: Path) -> None:
    path = tmp_path / "sparse.tar"
    start = tar(members()).rstrip(b"\0")
    start += bytes(-len(start) % 512)
    big = 1 << 34
    info = tarfile.TarInfo("big")
    info.size = big
    with path.open("wb") as file:
        file.write(start + info.tobuf(tarfile.GNU_FORMAT))
        file.truncate(file.tell() + big + 1024)
    with TarArchive.open(path) as archive:
        member = archive.find("big")
        assert member is not None
        assert member.size == big


@given(st.lists(st.tuples(st.text("ab./é", min_size=1, max_size=8), st.binary(max_size=20)), max_size=6))
def test_members_are_found_under_their_names_or_all_is_refused(items: list[tuple[str, bytes]]) -> None:
    try:
        archive = TarArchive.open(io.BytesIO(tar(items)))
    except EntrepotError:
        return
    with archive:
        for name, content in items:
            if not name.endswith("/"):
                assert archive.read(name, 100) == content


@given(st.binary(min_size=1, max_size=2048))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with pytest.raises(EntrepotError):
        opened(data)


@pytest.mark.parametrize("compress", [gzipped, zstandard.compress, bz2.compress, lzma.compress])
def test_k2_a_bomb_ends_before_it_fills_the_disk(
    compress: Callable[[bytes], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = msgspec.structs.replace(tarfile_module.LIMITS, max_ratio=20, ratio_floor_bytes=1 << 20)
    monkeypatch.setattr(tarfile_module, "LIMITS", small)
    bomb = compress(tar({"zeros": bytes(8 << 20)}))
    with pytest.raises(tarfile_module.ArchiveLimitExceeded):
        open_archive(io.BytesIO(bomb), tmp=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_k2_entries_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tarfile_module, "MAX_MEMBERS", 10)
    with pytest.raises(tarfile_module.ArchiveLimitExceeded):
        opened(tar({f"f{number}": b"" for number in range(11)}))


def test_a_full_disk_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="can't be copied to"):
        open_archive(io.BytesIO(tar(members())), tmp=tmp_path / "missing")
