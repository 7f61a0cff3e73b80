"""Sizes of layers without unpacking them."""

import gzip
from pathlib import Path

import pytest
import zstandard

from entrepot.images import uncompressed
from entrepot.images.uncompressed import uncompressed_size

DATA = bytes(range(256)) * 3000
TWO_FRAMES = b"".join(zstandard.ZstdCompressor().compress(half) for half in (DATA[:1000], DATA[1000:]))
SKIPPABLE = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"toc!"


@pytest.mark.parametrize(
    "stored",
    [
        DATA,
        gzip.compress(DATA),
        gzip.compress(DATA) + gzip.compress(b""),
        gzip.compress(DATA[:500_000]) + gzip.compress(DATA[500_000:]),
        zstandard.ZstdCompressor().compress(DATA),
        zstandard.ZstdCompressor(write_content_size=False).compressobj().compress(DATA)
        + zstandard.ZstdCompressor().compress(b""),
        TWO_FRAMES + SKIPPABLE,
        b"",
    ],
    ids=[
        "plain",
        "gzip",
        "gzip and an empty member",
        "gzip of two members",
        "zstd",
        "zstd cut",
        "zstd chunked",
        "empty",
    ],
)
def test_size_is_told_for_every_compression(tmp_path: Path, stored: bytes) -> None:
    path = tmp_path / "layer"
    path.write_bytes(stored)
    size = uncompressed_size(path)
    if stored and size != len(DATA):
        # A stream that was cut says less; it must neither fail nor say more.
        assert size <= max(len(DATA), len(stored))


@pytest.mark.parametrize(
    "stored",
    [
        TWO_FRAMES + SKIPPABLE,
        SKIPPABLE + zstandard.ZstdCompressor(write_checksum=True).compress(DATA) + SKIPPABLE,
        zstandard.ZstdCompressor().compress(DATA[:1000])
        + zstandard.ZstdCompressor(write_content_size=False).compress(DATA[1000:]),
        zstandard.ZstdCompressor().compress(bytes(700_000))
        + zstandard.ZstdCompressor().compress(bytes(68_000)),
    ],
    ids=["two frames", "checksum between others' frames", "one does not say", "repeated bytes"],
)
def test_all_frames_of_a_zstd_layer_count(tmp_path: Path, stored: bytes) -> None:
    path = tmp_path / "layer"
    path.write_bytes(stored)
    assert uncompressed_size(path) == len(DATA)


@pytest.mark.parametrize(
    "stored", [gzip.compress(DATA)[:-8] + b"\0" * 4, b"\x28\xb5\x2f\xfdgarbage"], ids=["gzip", "zstd"]
)
def test_damage_does_not_stop_a_listing(tmp_path: Path, stored: bytes) -> None:
    path = tmp_path / "layer"
    path.write_bytes(stored)
    assert uncompressed_size(path) >= 0


def test_k2_counting_a_bomb_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "layer"
    path.write_bytes(gzip.compress(bytes(8 << 20)) + gzip.compress(b""))
    assert uncompressed_size(path) == 8 << 20
    monkeypatch.setattr(uncompressed, "COUNTED_BYTES", 1 << 20)
    assert 1 << 20 < uncompressed_size(path) <= 2 << 20
