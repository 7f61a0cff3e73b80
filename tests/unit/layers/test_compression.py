"""Compressed layers: what is read, what is refused, and K2: bombs."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator

import pytest
import zstandard

from entrepot.layers.compression import (
    plain_chunks,
    prefetched,
    sniff_compression,
    verified_diff,
)
from entrepot.layers.errors import DiffIdMismatch, InvalidLayer, LayerLimitExceeded
from entrepot.layers.layer_writer import LayerWriter
from entrepot.layers.limits import UnpackLimits
from entrepot.oci.digest import Digest

DATA = b"".join(b"%d" % number for number in range(200_000))


def inflated(data: bytes, limits: UnpackLimits = UnpackLimits()) -> bytes:
    return b"".join(plain_chunks(io.BytesIO(data), limits))


def frame(data: bytes, **options: int) -> bytes:
    return zstandard.ZstdCompressor(**options).compress(data)


SKIPPABLE = frame(b"") + b"\x50\x2a\x4d\x18\x03\0\0\0abc"


@pytest.mark.parametrize(
    ("stored", "plain"),
    [
        pytest.param(gzip.compress(DATA), DATA, id="gzip"),
        pytest.param(gzip.compress(DATA) + gzip.compress(b"more"), DATA + b"more", id="gzip-members"),
        pytest.param(gzip.compress(DATA) + bytes(700), DATA, id="gzip-padded"),
        pytest.param(gzip.compress(b""), b"", id="gzip-of-nothing"),
        pytest.param(frame(DATA), DATA, id="zstd"),
        pytest.param(frame(DATA) + frame(b"more"), DATA + b"more", id="zstd-frames"),
        pytest.param(DATA, DATA, id="plain"),
        pytest.param(b"", b"", id="nothing"),
        pytest.param(
            frame(b"") + b"\x50\x2a\x4d\x18\x03\0\0\0abc" + frame(DATA, write_checksum=1),
            DATA,
            id="zstd-skippable",
        ),
        pytest.param(frame(bytes(1 << 22)), bytes(1 << 22), id="zstd-run"),
        pytest.param(b"a", b"a", id="one-byte"),
    ],
)
def test_layers_are_inflated_by_what_they_are(stored: bytes, plain: bytes) -> None:
    assert inflated(stored) == plain


@pytest.mark.parametrize(
    "stored",
    [
        pytest.param(gzip.compress(DATA)[:-1], id="gzip-cut"),
        pytest.param(gzip.compress(DATA)[:-8] + bytes(8), id="gzip-wrong-checksum"),
        pytest.param(gzip.compress(DATA) + b"trailing", id="gzip-trailing"),
        pytest.param(gzip.compress(DATA)[:50] + b"\xff" * 50, id="gzip-damaged"),
        pytest.param(frame(DATA)[:-1], id="zstd-cut"),
        pytest.param(frame(DATA)[:60] + b"\xff" * 60, id="zstd-damaged"),
        pytest.param(frame(DATA) + b"trailing", id="zstd-trailing"),
    ],
)
def test_damage_is_refused(stored: bytes) -> None:
    with pytest.raises(InvalidLayer):
        inflated(stored)


def test_K2_a_gzip_bomb_stops_at_the_ratio() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    limits = UnpackLimits(ratio_floor_bytes=8 << 20)
    out: list[int] = []
    with pytest.raises(LayerLimitExceeded, match="to one"):
        out.extend(len(chunk) for chunk in plain_chunks(io.BytesIO(bomb), limits))
    assert sum(out) <= 32 << 20


def test_K2_a_small_image_of_zeros_is_fine() -> None:
    assert len(inflated(gzip.compress(bytes(8 << 20)))) == 8 << 20


@pytest.mark.parametrize("compress", [gzip.compress, frame, bytes], ids=["gzip", "zstd", "plain"])
def test_K2_more_bytes_than_allowed_are_refused(compress: object) -> None:
    stored = compress(bytes(3 << 20))  # type: ignore[operator]
    with pytest.raises(LayerLimitExceeded):
        inflated(stored, UnpackLimits(max_bytes=2 << 20))


def test_K2_a_large_zstd_window_is_refused() -> None:
    options = zstandard.ZstdCompressionParameters.from_level(3, window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=options).compressobj()
    stored = b"".join([*(compressor.compress(bytes(1 << 20)) for _ in range(4)), compressor.flush()])
    with pytest.raises(InvalidLayer, match="memory"):
        inflated(stored)


def test_a_wrong_diff_id_is_told_after_the_last_chunk() -> None:
    chunks = verified_diff(iter([DATA]), Digest.of(b"something else"))
    assert next(chunks) == DATA
    with pytest.raises(DiffIdMismatch):
        next(chunks)
    assert b"".join(verified_diff(iter([DATA]), Digest.of(DATA))) == DATA


def test_prefetching_hands_on_chunks_and_errors_in_order() -> None:
    def chunks() -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        raise ValueError("broken")

    reading = prefetched(chunks())
    assert [next(reading), next(reading)] == [b"one", b"two"]
    with pytest.raises(ValueError, match="broken"):
        next(reading)


def test_prefetching_ends_when_nobody_reads_on() -> None:
    taken: list[int] = []

    def chunks() -> Iterator[bytes]:
        for number in range(1000):
            taken.append(number)
            yield b"x"

    reading = prefetched(chunks(), depth=2)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert len(taken) < 10


@pytest.mark.parametrize("compression", ["gzip", "zstd", None])
@pytest.mark.parametrize("reproducible", [False, True])
def test_what_a_layer_writer_stores_is_what_it_says(compression: str | None, reproducible: bool) -> None:
    out = io.BytesIO()
    writer = LayerWriter(out, compression, reproducible=reproducible)  # type: ignore[arg-type]
    for at in range(0, len(DATA), 1000):
        writer.write(DATA[at : at + 1000])
    writer.write(memoryview(bytes(3 << 20)))
    writer.close()
    writer.close()
    stored = out.getvalue()
    assert sniff_compression(stored) == compression
    assert inflated(stored) == DATA + bytes(3 << 20)
    assert writer.digest == Digest.of(stored)
    assert writer.diff_id.hex == hashlib.sha256(DATA + bytes(3 << 20)).hexdigest()
    assert writer.size == len(stored)
    if compression == "gzip":
        assert stored[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
        assert zlib.decompress(stored, 31) == DATA + bytes(3 << 20)


def test_a_full_disk_is_told_by_close() -> None:
    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    writer = LayerWriter(Full())
    writer.write(b"x")
    with pytest.raises(OSError, match="No space"):
        writer.close()


def test_other_compressions_are_no_layer_compressions() -> None:
    assert sniff_compression(bz2.compress(b"x")) is None


def test_chunks_that_do_not_compress_are_stored_between_those_that_do() -> None:
    import random

    noise = random.Random(1).randbytes(3 << 20)
    data = DATA + noise + DATA * 2 + noise[: 1 << 20] + DATA
    out = io.BytesIO()
    writer = LayerWriter(out)
    for part in (DATA, noise, DATA * 2, noise[: 1 << 20], DATA):
        writer.write(part)
    writer.close()
    assert gzip.decompress(out.getvalue()) == data
    assert inflated(out.getvalue()) == data
    assert len(out.getvalue()) < (4 << 20) + len(DATA) * 4
