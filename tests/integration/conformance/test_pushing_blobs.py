"""distribution-spec, "Pushing blobs": whole, in chunks, streamed, mounted, cancelled; and what is refused."""

from collections.abc import Callable

import pytest

from tests.support.distribution import NewRepository, WireRepository, digest
from tests.support.wire import Answer

CONTENT = b"0123456789" * 200
OTHER = "sha256:" + "b" * 64
BOTH = pytest.mark.parametrize("algorithm", ["sha256", "sha512"])


def _with_digest(location: str, wanted: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}digest={wanted}"


def _post_only(repository: WireRepository, data: bytes, wanted: str) -> Answer:
    return repository("POST", f"blobs/uploads/?digest={wanted}", body=data)


def _post_then_put(repository: WireRepository, data: bytes, wanted: str) -> Answer:
    return repository("PUT", _with_digest(repository.begin(), wanted), body=data)


def _streamed(repository: WireRepository, data: bytes, wanted: str) -> Answer:
    sent = repository("PATCH", repository.begin(), body=iter([data[:7], data[7:]]), chunked=True)
    assert sent.status == 202, sent
    return repository("PUT", _with_digest(sent.headers["location"], wanted), body=b"")


def _one_chunk(repository: WireRepository, data: bytes, wanted: str) -> Answer:
    headers = {"Content-Range": f"0-{len(data) - 1}"}
    sent = repository("PATCH", repository.begin(), body=data, headers=headers)
    assert sent.status == 202, sent
    return repository("PUT", _with_digest(sent.headers["location"], wanted), body=b"")


def _three_chunks(repository: WireRepository, data: bytes, wanted: str, *, put_last: bool = False) -> Answer:
    location, size = repository.begin(), len(data) // 3 + 1
    for start in range(0, len(data), size):
        part = data[start : start + size]
        headers = {"Content-Range": f"{start}-{start + len(part) - 1}"}
        if put_last and start + size >= len(data):
            return repository("PUT", _with_digest(location, wanted), body=part, headers=headers)
        sent = repository("PATCH", location, body=part, headers=headers)
        assert (sent.status, sent.headers["range"]) == (202, f"0-{start + len(part) - 1}")
        location = sent.headers["location"]
    return repository("PUT", _with_digest(location, wanted), body=b"")


def _last_chunk_in_the_put(repository: WireRepository, data: bytes, wanted: str) -> Answer:
    return _three_chunks(repository, data, wanted, put_last=True)


STYLES: dict[str, Callable[[WireRepository, bytes, str], Answer]] = {
    "post-only": _post_only,
    "post-then-put": _post_then_put,
    "streamed": _streamed,
    "one-chunk": _one_chunk,
    "three-chunks": _three_chunks,
    "last-chunk-in-the-put": _last_chunk_in_the_put,
}


@BOTH
@pytest.mark.parametrize("style", STYLES)
def test_a_blob_is_stored(repository: WireRepository, style: str, algorithm: str) -> None:
    """'Pushing a blob monolithically' (POST then PUT, single POST), "Pushing a blob in chunks"."""
    wanted = digest(CONTENT, algorithm)
    done = STYLES[style](repository, CONTENT, wanted)
    assert (done.status, done.headers["docker-content-digest"]) == (201, wanted)
    assert done.headers["location"].startswith("/"), "relative, so that it holds behind any proxy"
    assert repository("GET", done.headers["location"]).body == CONTENT
    assert repository("HEAD", f"blobs/{wanted}").status == 200


@BOTH
@pytest.mark.parametrize("style", ["post-only", "post-then-put"])
def test_an_empty_blob_is_a_blob(repository: WireRepository, style: str, algorithm: str) -> None:
    """'Pushing a blob monolithically': zero bytes have a digest too."""
    wanted = digest(b"", algorithm)
    assert STYLES[style](repository, b"", wanted).status == 201
    assert repository("GET", f"blobs/{wanted}").body == b""


@BOTH
@pytest.mark.parametrize("style", STYLES)
def test_bytes_with_another_digest_are_refused(
    repository: WireRepository, style: str, algorithm: str
) -> None:
    """'Pushing blobs': the digest must match; nothing is stored under either name."""
    wanted = digest(CONTENT, algorithm)
    refused = STYLES[style](repository, CONTENT + b"oh no", wanted)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert repository("HEAD", f"blobs/{wanted}").status == 404
    assert repository("HEAD", f"blobs/{digest(CONTENT + b'oh no')}").status == 404


def test_a_refused_upload_can_still_be_cancelled(repository: WireRepository) -> None:
    """U5. "Pushing blobs"; "Cancel a blob upload"."""
    location = repository.begin()
    assert repository("PUT", _with_digest(location, OTHER), body=CONTENT).status == 400
    assert repository("DELETE", location).status == 204
    assert repository("GET", location).status == 404


@pytest.mark.parametrize(
    "wanted",
    [
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:../../etc/passwd",
        "md5:" + "a" * 32,
        "nonsense",
        "",
        f"{OTHER}&digest=sha256:" + "c" * 64,
    ],
)
def test_what_is_no_digest_is_refused(repository: WireRepository, wanted: str) -> None:
    """U5. "Pushing blobs": DIGEST_INVALID, and the upload stays."""
    location = repository.begin()
    refused = repository("PUT", _with_digest(location, wanted), body=CONTENT)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    assert repository("GET", location).status == 204


def test_a_put_without_digest_is_refused(repository: WireRepository) -> None:
    """'Pushing blobs': `digest` is required."""
    refused = repository("PUT", repository.begin(), body=CONTENT)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("path", ["blobs/uploads/", "blobs/uploads"])
def test_beginning_an_upload_tells_where(repository: WireRepository, path: str) -> None:
    """'POST then PUT', end-4a: 202 with a Location; docker reads Range and the UUID."""
    begun = repository("POST", path)
    assert begun.status == 202
    assert begun.headers["location"].startswith(f"/v2/{repository.name}/blobs/uploads/")
    assert begun.headers["range"] == "0-0"
    assert begun.headers["docker-upload-uuid"]
    assert begun.headers["content-length"] == "0"


def test_an_upload_tells_how_far_it_is(repository: WireRepository) -> None:
    """'Pushing a blob in chunks', end-13: GET gives 204, Location and Range; without `bytes=`."""
    location = repository.begin()
    repository("PATCH", location, body=CONTENT[:100])
    answer = repository("GET", location)
    assert (answer.status, answer.headers["range"]) == (204, "0-99")
    assert answer.headers["location"] == location
    assert "content-length" not in answer.headers


@pytest.mark.parametrize("claim", ["100-199", "0-99", "49-148", "1000000-1000099"])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
def test_a_chunk_that_does_not_fit_is_refused(repository: WireRepository, method: str, claim: str) -> None:
    """U3. "Pushing a blob in chunks": 416, with where the upload stands; it goes on from there."""
    location, wanted = repository.begin(), digest(CONTENT)
    repository("PATCH", location, body=CONTENT[:50], headers={"Content-Range": "0-49"})
    path = location if method == "PATCH" else _with_digest(location, wanted)
    refused = repository(method, path, body=CONTENT[:100], headers={"Content-Range": claim})
    assert (refused.status, refused.code, refused.headers["range"]) == (416, "BLOB_UPLOAD_INVALID", "0-49")
    rest = repository("PUT", _with_digest(refused.headers["location"], wanted), body=CONTENT[50:])
    assert rest.status == 201
    assert repository("GET", f"blobs/{wanted}").body == CONTENT


@pytest.mark.parametrize("claim", ["99-0", "-5", "a-b", "0-", "bytes */5", ""])
def test_a_content_range_that_is_none_is_refused(repository: WireRepository, claim: str) -> None:
    """U3. "Pushing a blob in chunks": it must look like 0-99."""
    refused = repository("PATCH", repository.begin(), body=b"x", headers={"Content-Range": claim})
    assert (refused.status, refused.code) == (400, "BLOB_UPLOAD_INVALID")


def test_http_spelling_of_content_range_is_understood(repository: WireRepository) -> None:
    """Clients that spell it as HTTP does: `bytes 0-9/*`."""
    location = repository.begin()
    sent = repository("PATCH", location, body=CONTENT[:10], headers={"Content-Range": "bytes 0-9/*"})
    assert (sent.status, sent.headers["range"]) == (202, "0-9")


def test_content_range_and_length_must_agree(repository: WireRepository) -> None:
    """U2. "Pushing a blob in chunks"."""
    refused = repository("PATCH", repository.begin(), body=b"12345", headers={"Content-Range": "0-9"})
    assert (refused.status, refused.code) == (400, "BLOB_UPLOAD_INVALID")


@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
@pytest.mark.parametrize("upload", ["00000000-0000-0000-0000-000000000000", "x", "..%2f..%2fetc"])
def test_an_unknown_upload_is_not_found(repository: WireRepository, method: str, upload: str) -> None:
    """'Error Codes': BLOB_UPLOAD_UNKNOWN."""
    answer = repository(method, f"blobs/uploads/{upload}?digest={digest(b'x')}", body=b"")
    assert (answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN")


def test_an_upload_belongs_to_its_repository(new_repository: NewRepository) -> None:
    """An upload begun elsewhere is unknown here, whoever asks."""
    location = new_repository().begin()
    other = new_repository()
    other.push(b"so that it exists")
    upload = location.rpartition("/")[2]
    assert other("GET", f"blobs/uploads/{upload}").status == 404


def test_a_cancelled_upload_is_gone(repository: WireRepository) -> None:
    """'Cancel a blob upload', end-14: 204, then nothing is known of it."""
    location = repository.begin()
    repository("PATCH", location, body=CONTENT)
    cancelled = repository("DELETE", location)
    assert (cancelled.status, cancelled.body) == (204, b"")
    assert repository("PATCH", location, body=CONTENT).status == 404
    assert repository("PUT", _with_digest(location, digest(CONTENT)), body=b"").status == 404


def test_a_lost_answer_may_be_asked_for_again(repository: WireRepository) -> None:
    """U6. Repeating the closing PUT succeeds when the blob is there."""
    location, wanted = repository.begin(), digest(CONTENT)
    first = repository("PUT", _with_digest(location, wanted), body=CONTENT)
    again = repository("PUT", _with_digest(location, wanted), body=CONTENT)
    assert (first.status, again.status) == (201, 201)


@pytest.mark.parametrize("source", [True, False], ids=["from", "anonymous"])
@BOTH
def test_a_blob_is_mounted_from_another_repository(
    new_repository: NewRepository, source: bool, algorithm: str
) -> None:
    """'Mounting a blob from another repository', end-11: 201 with its Location, with and without `from`."""
    origin, target = new_repository(), new_repository()
    data = f"mounted {source} {algorithm}".encode()
    pushed = origin.push(data, algorithm)
    query = f"?mount={pushed}" + (f"&from={origin.name}" if source else "")
    mounted = target("POST", f"blobs/uploads/{query}")
    assert (mounted.status, mounted.headers["docker-content-digest"]) == (201, pushed)
    assert target("GET", mounted.headers["location"]).body == data


@pytest.mark.parametrize(
    "query",
    [f"mount={OTHER}&from=no/such", f"mount={OTHER}", "mount=nonsense&from=a", f"mount={OTHER}&from=UP"],
)
def test_what_cannot_be_mounted_becomes_an_upload(repository: WireRepository, query: str) -> None:
    """'Mounting a blob': 202 with an upload's Location; the client sends the bytes."""
    begun = repository("POST", f"blobs/uploads/?{query}")
    assert begun.status == 202
    done = repository("PUT", _with_digest(begun.headers["location"], digest(CONTENT)), body=CONTENT)
    assert done.status == 201


@BOTH
@pytest.mark.parametrize("announced", ["sha256", "sha512"])
def test_the_algorithm_may_be_announced(repository: WireRepository, announced: str, algorithm: str) -> None:
    """1.2, "POST then PUT": `digest-algorithm` on the POST is a hint; the digest at the end decides."""
    wanted = digest(CONTENT, algorithm)
    location = repository.begin(f"?digest-algorithm={announced}")
    sent = repository("PATCH", location, body=CONTENT)
    assert repository("PUT", _with_digest(sent.headers["location"], wanted), body=b"").status == 201


def test_an_unknown_algorithm_is_refused(repository: WireRepository) -> None:
    """1.2, "POST then PUT"."""
    refused = repository("POST", "blobs/uploads/?digest-algorithm=md5")
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")


def test_a_second_writer_is_turned_away(new_repository: NewRepository) -> None:
    """U4: what is stored is what one of them sent, never a mixture."""
    repository = new_repository()
    location = repository.begin()
    repository("PATCH", location, body=b"first", headers={"Content-Range": "0-4"})
    second = repository("PATCH", location, body=b"again", headers={"Content-Range": "0-4"})
    assert (second.status, second.headers["range"]) == (416, "0-4")
    done = repository("PUT", _with_digest(location, digest(b"first")), body=b"")
    assert done.status == 201
