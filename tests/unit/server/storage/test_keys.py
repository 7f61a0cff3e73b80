"""Physical names: made here only, never twice, and nothing else is followed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.digest import Digest
from entrepot.server.storage import keys
from entrepot.server.storage.errors import InvalidKey

DIGESTS = [Digest.of(b"x"), Digest.of(b"x", "sha512")]


@pytest.mark.parametrize("digest", DIGESTS, ids=["sha256", "sha512"])
def test_made_names_are_accepted_and_new_each_time(digest: Digest) -> None:
    first, second = keys.file_blob_key(digest), keys.file_blob_key(digest)
    assert first != second
    assert keys.checked_blob(first) == first
    assert first.startswith(f"blobs/{digest.algorithm}/{digest.hex[:2]}/{digest.hex}.")


def test_upload_names_tell_their_boot() -> None:
    upload = keys.file_upload_key("0123456789ab")
    assert keys.checked_upload(upload) == upload
    assert keys.boot_of_upload(upload) == "0123456789ab"


def test_segments_belong_to_their_upload() -> None:
    upload = keys.object_upload_key()
    segment = keys.segment_key(upload, 12_345)
    assert keys.checked_blob(segment) == segment
    assert keys.segment_offset(segment) == 12_345
    assert segment.startswith(f"{upload}/")


@given(st.text() | st.from_regex(r"(blobs|uploads)/[./a-f0-9]*", fullmatch=True))
def test_other_names_are_refused(text: str) -> None:
    """K7"""
    for check in (keys.checked_blob, keys.checked_upload):
        try:
            accepted = check(text)
        except InvalidKey:
            continue
        assert accepted == text
        assert ".." not in text
        assert text.isascii()


@pytest.mark.parametrize(
    "bad", ["", "blobs/" + "0" * 32 + "/../x", "uploads/../identity.json", "identity.json"]
)
def test_names_that_lead_elsewhere_are_refused(bad: str) -> None:
    with pytest.raises(InvalidKey):
        keys.checked_blob(bad)
    with pytest.raises(InvalidKey):
        keys.checked_upload(bad)
