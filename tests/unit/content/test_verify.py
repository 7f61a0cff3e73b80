"""Verified readers end right or not at all (K4)."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.content.verify import DigestMismatch, SizeMismatch, VerifiedReader, verify_bytes
from entrepot.errors import VerificationFailed
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest, Hasher

DATA = b"0123456789" * 10


def described(data: bytes, algorithm: str = "sha256") -> Descriptor:
    return Descriptor("text/plain", Digest.of(data, algorithm), len(data))


class Endless(io.RawIOBase):
    """As many zeros as anyone asks for, counted."""

    given = 0

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        buffer[:] = bytes(len(buffer))
        self.given += len(buffer)
        return len(buffer)


def read_in_pieces(reader: VerifiedReader, size: int) -> bytes:
    pieces = b""
    while piece := reader.read(size):
        pieces += piece
    return pieces


@given(st.binary(max_size=60), st.integers(1, 70), st.sampled_from(["sha256", "sha512"]))
def test_right_bytes_pass_in_any_pieces(data: bytes, size: int, algorithm: str) -> None:
    reader = VerifiedReader(io.BytesIO(data), described(data, algorithm))
    assert read_in_pieces(reader, size) == data
    assert reader.verified
    buffer, collected = bytearray(size), b""
    reader = VerifiedReader(io.BytesIO(data), described(data, algorithm))
    while count := reader.readinto(buffer):
        collected += buffer[:count]
    assert collected == data
    assert reader.verified


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"x" + DATA[1:], DigestMismatch),
        (DATA[:-1], SizeMismatch),
        (b"", SizeMismatch),
        (DATA + b"x", SizeMismatch),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 1000, -1])
def test_wrong_bytes_raise(sent: bytes, error: type[VerificationFailed], size: int) -> None:
    reader = VerifiedReader(io.BytesIO(sent), described(DATA))
    with pytest.raises(error):
        read_in_pieces(reader, size)
    assert not reader.verified


def test_the_last_bytes_of_a_wrong_blob_are_not_handed_out() -> None:
    reader = VerifiedReader(io.BytesIO(b"x" * 100), described(DATA))
    assert reader.read(99) == b"x" * 99
    with pytest.raises(DigestMismatch):
        reader.read(1)


def test_an_endless_body_costs_one_byte_more_than_promised() -> None:
    endless, zeros = Endless(), bytes(100)
    with pytest.raises(SizeMismatch):
        VerifiedReader(endless, described(zeros)).read()
    assert endless.given == 101


def test_a_reader_may_start_within_the_blob() -> None:
    hasher = Hasher()
    hasher.update(DATA[:30])
    reader = VerifiedReader(io.BytesIO(DATA[30:]), described(DATA), hasher=hasher)
    assert reader.offset == 30
    assert reader.read() == DATA[30:]
    assert reader.verified


def test_bytes_are_checked_at_once() -> None:
    verify_bytes(DATA, described(DATA))
    with pytest.raises(SizeMismatch):
        verify_bytes(DATA[1:], described(DATA))
    with pytest.raises(DigestMismatch):
        verify_bytes(DATA[1:] + b"x", described(DATA))
