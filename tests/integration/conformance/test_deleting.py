"""distribution-spec, "Content Management": deleting tags, manifests and blobs, visible at once."""

import pytest

from tests.support.distribution import OCI_EMPTY, WireRepository, digest
from tests.support.wire import Wire

MISSING = "sha256:" + "e" * 64


def test_deleting_a_tag_leaves_the_manifest(repository: WireRepository) -> None:
    """'Deleting tags', end-9: 202; the manifest and its other tags stay."""
    raw = repository.put_image("one")
    repository.put(raw, "two")
    assert repository("DELETE", "manifests/one").status == 202
    assert repository("GET", "manifests/one").status == 404
    assert repository("GET", "manifests/two").body == raw
    assert repository("GET", f"manifests/{digest(raw)}").body == raw
    assert repository("GET", "tags/list").json()["tags"] == ["two"]


def test_deleting_a_manifest_takes_its_tags_along(repository: WireRepository) -> None:
    """'Deleting Manifests', end-9: 202, then 404 by digest and by every tag."""
    raw = repository.put_image("one")
    repository.put(raw, "two")
    assert repository("DELETE", f"manifests/{digest(raw)}").status == 202
    for reference in ("one", "two", digest(raw)):
        assert repository("HEAD", f"manifests/{reference}").status == 404
    assert repository("GET", "tags/list").json()["tags"] == []


def test_deleting_a_blob_hides_it(repository: WireRepository) -> None:
    """'Deleting Blobs', end-10: 202, then 404."""
    pushed = repository.push(b"gone soon")
    assert repository("DELETE", f"blobs/{pushed}").status == 202
    assert repository("HEAD", f"blobs/{pushed}").status == 404
    again = repository("DELETE", f"blobs/{pushed}")
    assert (again.status, again.code) == (404, "BLOB_UNKNOWN")


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("manifests/none", "MANIFEST_UNKNOWN"),
        (f"manifests/{MISSING}", "MANIFEST_UNKNOWN"),
        (f"blobs/{MISSING}", "BLOB_UNKNOWN"),
    ],
)
def test_what_is_not_there_cannot_be_deleted(repository: WireRepository, path: str, code: str) -> None:
    """'Content Management': 404."""
    repository.put_image("t")
    answer = repository("DELETE", path)
    assert (answer.status, answer.code) == (404, code)


def test_a_deleted_manifest_can_be_pushed_again(repository: WireRepository) -> None:
    """'Content Management': deleting is not for ever."""
    raw = repository.put_image("t")
    repository("DELETE", f"manifests/{digest(raw)}")
    assert repository.put(raw, "t").status == 201
    assert repository("GET", "manifests/t").body == raw


def test_a_deleted_blob_can_be_pushed_again(repository: WireRepository) -> None:
    """'Content Management'."""
    pushed = repository.push(b"back again")
    repository("DELETE", f"blobs/{pushed}")
    assert repository.push(b"back again") == pushed
    assert repository("GET", f"blobs/{pushed}").body == b"back again"


def test_a_deleted_referrer_is_no_longer_listed(repository: WireRepository) -> None:
    """'Deleting Manifests': the registry updates its referrers."""
    subject = repository.describe(repository.put_image("image"))
    empty = repository.descriptor(b"{}", OCI_EMPTY)
    raw = repository.manifest(empty, config=empty, subject=subject)
    repository.put(raw)
    assert len(repository("GET", f"referrers/{subject['digest']}").json()["manifests"]) == 1
    assert repository("DELETE", f"manifests/{digest(raw)}").status == 202
    assert repository("GET", f"referrers/{subject['digest']}").json()["manifests"] == []


def test_every_worker_sees_a_deletion_at_once(repository: WireRepository, registry_port: int) -> None:
    """Connections land on different workers; none of them remembers what is gone."""
    others = [Wire(registry_port) for _ in range(8)]
    path = f"/v2/{repository.name}/manifests/t"
    for _ in range(3):
        repository.put_image("t")
        assert [other("GET", path).status for other in others] == [200] * 8
        assert repository("DELETE", "manifests/t").status == 202
        assert [other("GET", path).status for other in others] == [404] * 8
    for other in others:
        other.close()


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "manifests/x", "DELETE, GET, HEAD, PUT"),
        ("PATCH", f"blobs/{MISSING}", "DELETE, GET, HEAD"),
        ("DELETE", "tags/list", "GET, HEAD"),
        ("PUT", "blobs/uploads/", "POST"),
        ("DELETE", "/v2/_catalog", "GET, HEAD"),
    ],
)
def test_other_methods_are_named(repository: WireRepository, method: str, path: str, allowed: str) -> None:
    """'Error Codes': UNSUPPORTED, with the methods there are."""
    answer = repository(method, path)
    assert (answer.status, answer.code, answer.headers["allow"]) == (405, "UNSUPPORTED", allowed)
