"""The words of the registry API: paths, errors, ranges and links."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entrepot.oci.digest import Digest
from entrepot.oci.distribution import (
    ErrorCode,
    InvalidRange,
    blob_path,
    error_body,
    fallback_tag,
    link_next,
    manifest_path,
    parse_byte_range,
    parse_content_range,
    parse_link,
    parse_upload_range,
    referrers_path,
    upload_path,
    upload_range,
)

D = Digest.of(b"x")


def test_paths_are_the_specifications() -> None:
    assert manifest_path("a/b", "latest") == "/v2/a/b/manifests/latest"
    assert blob_path("a/b", D) == f"/v2/a/b/blobs/{D}"
    assert referrers_path("a", D) == f"/v2/a/referrers/{D}"
    assert upload_path("a", "../x") == "/v2/a/blobs/uploads/..%2Fx"
    assert fallback_tag(D) == f"sha256-{D.hex}"
    assert len(fallback_tag(Digest.of(b"", "sha512"))) <= 128


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", (0, 1)),
        ("bytes=0-9", (0, 10)),
        ("bytes=5-", (5, 10)),
        ("bytes=5-999", (5, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        ("BYTES=1-2", (1, 3)),
        ("bytes = 1-2", (1, 3)),
        ("bytes=1-2,4-5", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("items=0-1", None),
        ("bytes=0-1x", None),
        ("bytes=+1-2", None),
        ("bytes=١-٢", None),
        ("bytes=" + "9" * 40 + "-", None),
    ],
)
def test_byte_ranges_are_cut_to_the_content(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_byte_range(header, 10) == expected


@pytest.mark.parametrize(
    "header", ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=999999999999-", "bytes=5-4"]
)
def test_ranges_beyond_the_end_can_not_be_met(header: str) -> None:
    with pytest.raises(InvalidRange):
        parse_byte_range(header, 10)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=-1"])
def test_empty_content_has_no_range(header: str) -> None:
    with pytest.raises(InvalidRange):
        parse_byte_range(header, 0)


@given(st.integers(0, 1000), st.integers(0, 1000), st.integers(1, 1000))
def test_a_byte_range_is_what_a_slice_takes(start: int, last: int, size: int) -> None:
    content = bytes(size)
    if start >= size or last < start:
        with pytest.raises(InvalidRange):
            parse_byte_range(f"bytes={start}-{last}", size)
        return
    found = parse_byte_range(f"bytes={start}-{last}", size)
    assert found == (start, min(last + 1, size))
    assert len(content[slice(*found)]) == found[1] - found[0] > 0


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("0-99", (0, 100)),
        ("bytes 0-99/100", (0, 100)),
        ("bytes 5-9/*", (5, 10)),
        ("0-0", (0, 1)),
        ("bytes=1-2", (1, 3)),
    ],
)
def test_content_ranges_are_read_in_both_spellings(header: str, expected: tuple[int, int]) -> None:
    assert parse_content_range(header) == expected


@pytest.mark.parametrize("header", ["", "9-0", "a-b", "-5", "5-", "0-1-2", "bytes */5", "1" * 20 + "-1"])
def test_other_content_ranges_are_refused(header: str) -> None:
    with pytest.raises(InvalidRange):
        parse_content_range(header)


@given(st.integers(0, 2**60))
def test_upload_ranges_say_how_much_is_held(offset: int) -> None:
    held = parse_upload_range(upload_range(offset))
    assert held == (offset if offset != 1 else 0)  # one byte can't be told from none


@pytest.mark.parametrize("header", ["", "1-5", "bytes 0-5", "0-", "x"])
def test_other_upload_ranges_are_refused(header: str) -> None:
    with pytest.raises(InvalidRange):
        parse_upload_range(header)


def test_errors_are_written_as_the_specification_says() -> None:
    body = error_body(ErrorCode.BLOB_UNKNOWN, "no such blob", {"digest": str(D)})
    assert json.loads(body) == {
        "errors": [{"code": "BLOB_UNKNOWN", "message": "no such blob", "detail": {"digest": str(D)}}]
    }
    assert ErrorCode.BLOB_UNKNOWN.status == 404


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('</v2/a/tags/list?n=1&last=b>; rel="next"', "/v2/a/tags/list?n=1&last=b"),
        ("<x>; rel=next", "x"),
        ('<a>; rel="prev", <b>; title="x"; rel="next"', "b"),
        ('<a>; rel="prev next"', "a"),
        ("<a>; REL=Next", "a"),
        ('<a,b;c>; rel="next"', "a,b;c"),
        (None, None),
        ("", None),
        ("</x>", None),
        ('<a>; rel="last"', None),
        ("garbage", None),
        ("<" * 9000, None),
    ],
)
def test_the_next_page_is_found(header: str | None, expected: str | None) -> None:
    assert parse_link(header) == expected


@given(st.text(max_size=20), st.integers(0, 1000))
def test_written_links_are_read(last: str, n: int) -> None:
    if last.encode("utf-8", "ignore").decode() == last:
        target = parse_link(link_next("/v2/a/tags/list", {"n": n, "last": last}))
        assert target is not None
        assert target.startswith(f"/v2/a/tags/list?n={n}&last=")
