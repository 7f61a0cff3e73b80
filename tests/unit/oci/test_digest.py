"""Digests parse, print and hash; anything that could be a path or a trick is refused (K7)."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.digest import ALGORITHMS, Digest, Hasher, InvalidDigest

EMPTY_SHA256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_digest_of_nothing_is_known() -> None:
    assert str(Digest.of(b"")) == EMPTY_SHA256
    assert Digest.of(b"").short == "e3b0c44298fc"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "invalid checksum digest format"),
        ("sha256:../../x", "invalid checksum digest format"),
        ("sha256:" + "A" * 64, "invalid checksum digest format"),
        ("sha256:" + "a" * 63, "invalid checksum digest length"),
        ("sha256:" + "a" * 64 + "\n", "invalid checksum digest format"),
        ("sha512:" + "a" * 64, "invalid checksum digest length"),
        ("sha384:" + "a" * 96, "unsupported digest algorithm"),
        ("md5:" + "a" * 32, "unsupported digest algorithm"),
        ("SHA256:" + "a" * 64, "unsupported digest algorithm"),
        ("a" * 64, "invalid checksum digest format"),
        (EMPTY_SHA256 + ":x", "invalid checksum digest format"),
    ],
)
def test_other_text_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidDigest, match=message):
        Digest.parse(text)


def test_a_digest_is_valid_by_construction() -> None:
    with pytest.raises(InvalidDigest):
        Digest("sha256", "../x")


@given(st.binary(max_size=200), st.sampled_from(ALGORITHMS))
def test_printed_digests_parse_to_themselves(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert hash(Digest.parse(str(digest))) == hash(digest)


@given(st.lists(st.binary(max_size=50)), st.sampled_from(ALGORITHMS))
def test_pieces_hash_like_the_whole(pieces: list[bytes], algorithm: str) -> None:
    hasher = Hasher(algorithm)
    for piece in pieces:
        hasher.update(memoryview(piece))
    whole = b"".join(pieces)
    assert (hasher.digest(), hasher.size) == (Digest.of(whole, algorithm), len(whole))


def test_a_copied_hasher_goes_its_own_way() -> None:
    hasher = Hasher()
    hasher.update(b"a")
    other = hasher.copy()
    other.update(b"b")
    assert (hasher.digest(), other.digest()) == (Digest.of(b"a"), Digest.of(b"ab"))
    assert (hasher.size, other.size) == (1, 2)


@given(st.text(max_size=100))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidDigest):
        assert str(Digest.parse(text)) == text
