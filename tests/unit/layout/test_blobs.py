"""Blob files: complete and verified, or not there."""

import os
import stat
from pathlib import Path

import pytest

from entrepot.content.errors import BlobNotFound
from entrepot.content.verify import DigestMismatch
from entrepot.errors import VerificationFailed
from entrepot.layout.blobs import BlobFiles
from entrepot.layout.files import LayoutFiles
from entrepot.layout.paths import LayoutPaths
from entrepot.oci.digest import Digest


@pytest.fixture
def files(tmp_path: Path) -> LayoutFiles:
    made = LayoutFiles(LayoutPaths(tmp_path), durable=False)
    made.create()
    return made


@pytest.fixture
def blobs(files: LayoutFiles) -> BlobFiles:
    return files.blobs


def test_a_writer_names_what_was_written_or_leaves_nothing(files: LayoutFiles, blobs: BlobFiles) -> None:
    with blobs.writer() as writer:
        writer.write(b"one")
        digest = writer.commit()
    assert blobs.read(digest) == b"one"
    with blobs.writer() as writer:
        writer.write(b"two")
        with pytest.raises(DigestMismatch):
            writer.commit(digest)
    assert [found for found, _ in blobs.all()] == [digest]
    assert list(files.paths.tmp.iterdir()) == []


def test_a_blob_of_another_length_is_not_here(blobs: BlobFiles) -> None:
    digest = blobs.put_bytes(b"12345")
    assert (blobs.has(digest), blobs.has(digest, 5), blobs.has(digest, 4)) == (True, True, False)
    assert blobs.size(Digest.of(b"none")) is None
    with pytest.raises(BlobNotFound):
        blobs.open(Digest.of(b"none"))


def test_damage_is_found_when_read_and_removed_when_asked(blobs: BlobFiles) -> None:
    digest, whole = blobs.put_bytes(b"12345"), blobs.put_bytes(b"whole")
    blobs.path(digest).write_bytes(b"54321")
    with pytest.raises(VerificationFailed):
        blobs.read(digest)
    assert (blobs.remove_if_damaged(digest), blobs.remove_if_damaged(whole)) == (True, False)
    assert [found for found, _ in blobs.all()] == [whole]


def test_garbage_goes_and_files_of_others_stay(files: LayoutFiles, blobs: BlobFiles) -> None:
    kept, gone = blobs.put_bytes(b"kept"), blobs.put_bytes(b"gone!")
    foreign = files.paths.blobs / "sha256" / "README"
    foreign.write_bytes(b"mine")
    freed = blobs.remove_all_but({str(kept)})
    assert (freed.blobs, freed.bytes) == ((gone,), 5)
    assert foreign.exists()


@pytest.mark.parametrize("durable", [False, True])
def test_only_a_durable_layout_waits_for_the_disk(
    durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = LayoutFiles(LayoutPaths(tmp_path), durable=durable)
    made.create()
    synced: list[str] = []

    def fsync(fd: int) -> None:
        synced.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")

    monkeypatch.setattr(os, "fsync", fsync)
    made.blobs.put_bytes(b"blob")
    assert synced == (["file", "folder"] if durable else [])
