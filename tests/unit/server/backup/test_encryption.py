"""Files of an encrypted backup are age files: others open them, and no damaged one opens."""

import os
import subprocess
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from pyrage.x25519 import Identity

from entrepot.server.backup.encryption import CHUNK_BYTES, BackupKey, make_key_file, sealed_body
from entrepot.server.backup.errors import BackupInvalid
from tests.support.programs import require_program

pytestmark = pytest.mark.anyio

KEY = BackupKey(Identity.generate())
TAG = 16


async def in_pieces(data: bytes, size: int) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def sealed(data: bytes, key: BackupKey = KEY) -> bytes:
    return b"".join([piece async for piece in key.seal(in_pieces(data, 50_000))])


async def opened(data: bytes, key: BackupKey = KEY, *, size: int = 30_000) -> bytes:
    return b"".join([piece async for piece in key.open("a", in_pieces(data, size))])


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
async def test_sealed_files_open_as_they_were_and_no_other_way(size: int) -> None:
    data = bytes(number % 251 for number in range(size))
    kept = await sealed(data)
    assert KEY.may_be_sealed(len(kept), size)
    assert await opened(kept) == data
    assert await opened(kept, size=7 if size < CHUNK_BYTES else CHUNK_BYTES) == data
    last_chunk = size % CHUNK_BYTES or min(size, CHUNK_BYTES)
    for broken in (
        kept[:-1],
        kept[: -(last_chunk + TAG)],
        kept[:20],
        kept[:-1] + bytes([kept[-1] ^ 1]),
        kept + b"x",
        b"",
        data,
    ):
        with pytest.raises(BackupInvalid):
            await opened(broken)
    with pytest.raises(BackupInvalid):
        await opened(kept, BackupKey(Identity.generate()))


async def test_the_header_comes_first_and_alone_so_that_the_size_is_known_before_the_rest() -> None:
    for size in (0, 10, 3 * CHUNK_BYTES):
        async with aclosing(KEY.seal(in_pieces(bytes(size), 1 << 20))) as pieces:
            head = await anext(pieces)
            rest = [len(piece) async for piece in pieces]
        assert head.startswith(b"age-encryption.org/v1\n")
        assert sum(rest) == sealed_body(size)


def test_a_file_that_lacks_its_end_is_not_taken_for_a_whole_one() -> None:
    size = 10 * CHUNK_BYTES
    assert not KEY.may_be_sealed(sealed_body(size), size)
    assert not KEY.may_be_sealed(sealed_body(size) - CHUNK_BYTES, size)
    assert not KEY.may_be_sealed(sealed_body(size) + CHUNK_BYTES, size)


async def test_no_more_than_one_piece_is_held_however_large_the_file() -> None:
    piece, given, taken = bytes(1 << 20), 0, 0

    async def many() -> AsyncIterator[bytes]:
        nonlocal given
        for _ in range(64):
            given += len(piece)
            yield piece

    async def counted() -> AsyncIterator[bytes]:
        nonlocal taken
        async for made in KEY.seal(many()):
            taken += len(made)
            assert given - taken <= 2 * len(piece)
            yield made

    back = 0
    async for made in KEY.open("a", counted()):
        assert len(made) <= 2 * len(piece)
        back += len(made)
    assert back == given


async def test_who_stops_in_the_middle_leaves_no_thread() -> None:
    def helpers() -> int:
        return sum(thread.name == "age" for thread in threading.enumerate())

    async def failing() -> AsyncIterator[bytes]:
        yield bytes(1 << 20)
        raise RuntimeError("the disk is gone")

    kept = await sealed(bytes(1 << 20))
    for stream in (KEY.seal(in_pieces(bytes(1 << 22), 1 << 20)), KEY.open("a", in_pieces(kept, 100_000))):
        async with aclosing(stream):
            await anext(stream)
    with pytest.raises(RuntimeError, match="the disk is gone"):
        _ = [piece async for piece in KEY.seal(failing())]
    assert helpers() == 0


async def test_age_itself_opens_and_makes_such_files(tmp_path: Path) -> None:
    age, age_keygen = require_program("age"), require_program("age-keygen")
    ours, theirs = tmp_path / "ours.key", tmp_path / "theirs.key"
    make_key_file(ours)
    assert ours.stat().st_mode & 0o777 == 0o600
    subprocess.run([age_keygen, "-o", theirs], check=True, capture_output=True)
    data = os.urandom(3 * CHUNK_BYTES + 5)
    for file in (ours, theirs):
        key = BackupKey.load(file)
        kept = await sealed(data, key)
        read = subprocess.run([age, "-d", "-i", file], input=kept, capture_output=True, check=True)
        assert read.stdout == data
        public = subprocess.run([age_keygen, "-y", file], capture_output=True, check=True, text=True).stdout
        made = subprocess.run([age, "-r", public.strip()], input=data, capture_output=True, check=True)
        assert await opened(made.stdout, key) == data


@pytest.mark.parametrize("text", [b"", b"\xff" * 32, b"# only words\n", b"AGE-SECRET-KEY-1NO\n"])
def test_what_is_no_key_file_is_refused_in_words(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "some.key"
    file.write_bytes(text)
    with pytest.raises(BackupInvalid, match="is no key file"):
        BackupKey.load(file)


def test_a_file_with_two_keys_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "some.key"
    file.write_text("".join(f"{Identity.generate()}\n" for _ in range(2)))
    with pytest.raises(BackupInvalid, match="is no key file"):
        BackupKey.load(file)


def test_names_and_fingerprints_are_those_of_the_key(tmp_path: Path) -> None:
    make_key_file(tmp_path / "one.key")
    make_key_file(tmp_path / "other.key")
    one, again, other = (BackupKey.load(tmp_path / name) for name in ("one.key", "one.key", "other.key"))
    assert (one.fingerprint, one.hide("x")) == (again.fingerprint, again.hide("x"))
    named = {one.hide("x"), one.hide("y"), other.hide("x"), one.fingerprint, other.fingerprint}
    assert len(named) == 5
