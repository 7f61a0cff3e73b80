"""distribution-spec, "Pull": manifests and blobs, their existence, ranges and conditions."""

import pytest

from tests.support.distribution import OCI_MANIFEST, WireRepository, digest

MISSING = "sha256:" + "a" * 64
CONTENT = bytes(range(256)) * 8


@pytest.fixture
def pushed(repository: WireRepository) -> bytes:
    return repository.put_image("latest", annotations={"a": "b"})


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_a_manifest_is_pulled_as_it_was_pushed(repository: WireRepository, pushed: bytes, by: str) -> None:
    """'Pulling manifests', end-3."""
    reference = "latest" if by == "tag" else digest(pushed)
    answer = repository("GET", f"manifests/{reference}")
    assert (answer.status, answer.body) == (200, pushed)
    assert answer.headers["content-type"] == OCI_MANIFEST
    assert answer.headers["docker-content-digest"] == digest(pushed)
    assert answer.headers["content-length"] == str(len(pushed))
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("by", ["tag", "digest"])
def test_head_says_what_a_manifest_would_be(repository: WireRepository, pushed: bytes, by: str) -> None:
    """'Checking if content exists in the registry', end-3: the same headers, no body."""
    reference = "latest" if by == "tag" else digest(pushed)
    answer = repository("HEAD", f"manifests/{reference}")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["content-type"] == OCI_MANIFEST
    assert answer.headers["docker-content-digest"] == digest(pushed)
    assert answer.headers["content-length"] == str(len(pushed))


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.v2+json;q=0.5, text/html",
        "application/json, " * 40 + "*/*",
    ],
)
def test_accept_never_converts(repository: WireRepository, pushed: bytes, accept: str | None) -> None:
    """'Pulling manifests': another form would have another digest, so what is stored is sent."""
    answer = repository("GET", "manifests/latest", headers={"Accept": accept} if accept else {})
    assert (answer.status, answer.body, answer.headers["content-type"]) == (200, pushed, OCI_MANIFEST)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("reference", ["none", MISSING, "sha512:" + "a" * 128])
def test_a_missing_manifest_is_not_found(
    repository: WireRepository, pushed: bytes, method: str, reference: str
) -> None:
    """'Pulling manifests': 404, MANIFEST_UNKNOWN."""
    answer = repository(method, f"manifests/{reference}")
    assert answer.status == 404
    assert method == "HEAD" or answer.code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("reference", [".INVALID_MANIFEST_NAME", "-x", "x" * 129, "a%20b"])
def test_what_can_be_no_tag_is_not_found_either(
    repository: WireRepository, pushed: bytes, method: str, reference: str
) -> None:
    """'Pulling manifests': nothing of that name can be there, so it is missing as any other is: 404."""
    answer = repository(method, f"manifests/{reference}")
    assert answer.status == 404
    assert method == "HEAD" or answer.code == "MANIFEST_UNKNOWN"


@pytest.mark.parametrize("form", ["{}", '"{}"', 'W/"{}"', '"other", "{}"', "*"])
def test_an_unchanged_manifest_is_not_sent_again(
    repository: WireRepository, pushed: bytes, form: str
) -> None:
    """RFC 9110 13.1.2; some clients leave the quotes out."""
    held = form.format(digest(pushed))
    answer = repository("GET", "manifests/latest", headers={"If-None-Match": held})
    assert (answer.status, answer.body) == (304, b"")
    assert answer.headers["etag"] == f'"{digest(pushed)}"'
    changed = repository("GET", "manifests/latest", headers={"If-None-Match": f'"{MISSING}"'})
    assert changed.status == 200


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("data", [b"", b"{}", CONTENT], ids=["empty", "empty-json", "binary"])
def test_a_blob_is_pulled_as_it_was_pushed(repository: WireRepository, data: bytes, algorithm: str) -> None:
    """'Pulling blobs', end-2; "Checking if content exists in the registry"."""
    pushed = repository.push(data, algorithm)
    answer = repository("GET", f"blobs/{pushed}")
    assert (answer.status, answer.body) == (200, data)
    told = repository("HEAD", f"blobs/{pushed}")
    assert (told.status, told.body) == (200, b"")
    for each in (answer, told):
        assert each.headers["content-length"] == str(len(data))
        assert each.headers["docker-content-digest"] == pushed
        assert each.headers["content-type"] == "application/octet-stream"
        assert each.headers["accept-ranges"] == "bytes"
        assert each.headers["etag"] == f'"{pushed}"'
        assert each.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_missing_blob_is_not_found(repository: WireRepository, method: str) -> None:
    """'Pulling blobs': 404, BLOB_UNKNOWN."""
    answer = repository(method, f"blobs/{MISSING}")
    assert answer.status == 404
    assert method == "HEAD" or answer.code == "BLOB_UNKNOWN"


@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=500-1499", 500, 1499),
        ("bytes=500-", 500, 2047),
        ("bytes=-500", 1548, 2047),
        ("bytes=-5000", 0, 2047),
        ("bytes=2000-5000", 2000, 2047),
        ("BYTES=5-6", 5, 6),
    ],
)
def test_a_range_of_a_blob_is_a_partial_answer(
    repository: WireRepository, asked: str, first: int, last: int
) -> None:
    """'Pulling blobs': Range is supported as in RFC 9110."""
    pushed = repository.push(CONTENT)
    answer = repository("GET", f"blobs/{pushed}", headers={"Range": asked})
    assert (answer.status, answer.body) == (206, CONTENT[first : last + 1])
    assert answer.headers["content-range"] == f"bytes {first}-{last}/2048"
    assert answer.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize("asked", ["bytes=2048-", "bytes=5000-10000", "bytes=500-0", "bytes=-0"])
def test_a_range_without_bytes_can_not_be_met(repository: WireRepository, asked: str) -> None:
    """'Pulling blobs'; RFC 9110 15.5.17: 416 says how long the blob is."""
    pushed = repository.push(CONTENT)
    answer = repository("GET", f"blobs/{pushed}", headers={"Range": asked})
    assert (answer.status, answer.code) == (416, "SIZE_INVALID")
    assert answer.headers["content-range"] == "bytes */2048"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=0-1,5-6",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(1000)),
        "bytes=0-18446744073709551616",
        "bytes=a-b",
        "lines=0-1",
        "bytes=--1",
        "",
    ],
    ids=["two", "thousand", "huge", "letters", "unit", "negative", "empty"],
)
def test_other_ranges_get_the_whole_blob(repository: WireRepository, asked: str) -> None:
    """H6. RFC 9110 14.2: a server may ignore Range; many small ranges must not cost more than the blob."""
    pushed = repository.push(CONTENT)
    answer = repository("GET", f"blobs/{pushed}", headers={"Range": asked})
    assert (answer.status, answer.body) == (200, CONTENT)


def test_if_range_decides_whether_a_range_is_still_right(repository: WireRepository) -> None:
    """H6. RFC 9110 13.1.5."""
    pushed = repository.push(CONTENT)
    same = {"Range": "bytes=0-3", "If-Range": f'"{pushed}"'}
    other = {"Range": "bytes=0-3", "If-Range": f'"{MISSING}"'}
    assert repository("GET", f"blobs/{pushed}", headers=same).status == 206
    assert repository("GET", f"blobs/{pushed}", headers=other).status == 200


def test_a_known_blob_is_not_sent_again(repository: WireRepository) -> None:
    """RFC 9110 13.1.2."""
    pushed = repository.push(CONTENT)
    for method in ("GET", "HEAD"):
        answer = repository(method, f"blobs/{pushed}", headers={"If-None-Match": f'"{pushed}"'})
        assert (answer.status, answer.body) == (304, b"")


def test_containerd_may_name_the_registry_it_means(repository: WireRepository, pushed: bytes) -> None:
    """'Registry Proxying': `ns` is accepted on every pull."""
    assert repository("GET", "manifests/latest?ns=docker.io").body == pushed
    layer = repository.push(b"layer")
    assert repository("GET", f"blobs/{layer}?ns=docker.io").status == 200


def test_a_digest_may_come_percent_encoded(repository: WireRepository, pushed: bytes) -> None:
    """RFC 3986: `%3A` is a colon."""
    encoded = digest(pushed).replace(":", "%3A")
    assert repository("GET", f"manifests/{encoded}").body == pushed
    blob = repository.push(b"x").replace(":", "%3a")
    assert repository("GET", f"blobs/{blob}").body == b"x"
