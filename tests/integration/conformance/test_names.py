"""distribution-spec, "Pulling manifests": what a repository name may be. Matched on the raw path."""

import pytest

from tests.support.distribution import NUMBERS, OCI_MANIFEST, WireRepository

GOOD = [
    "a",
    "a/b",
    "a0/b-1_2.3",
    "a__b",
    "a---b/c",
    "x/y/z/v/w",
    "blobs/uploads",
    "manifests/tags",
    "library/v2",
]
BAD = [
    "UPPER",
    "a/UPPER",
    "a/",
    "/a",
    "a//b",
    "..",
    "a/../b",
    ".",
    "a/./b",
    "-a",
    "a-",
    "_a",
    "a..b",
    "a___b",
    "a%2fb",
    "%2e%2e",
    "a%00b",
    "a%20b",
    "a%E2%80%AEb",
    "%C3%A9",
    "a\\b",
    "a:b",
    "_catalog",
    "a" * 256,
    "a/" + "b" * 254,
]


@pytest.mark.parametrize("name", GOOD)
def test_a_good_name_is_used(repository: WireRepository, name: str) -> None:
    """The grammar of `<name>`."""
    unique = f"{name}/n{next(NUMBERS)}"
    other = WireRepository(repository.wire, unique)
    raw = other.put_image("t")
    assert other("GET", "manifests/t").body == raw
    assert other("GET", "tags/list").json()["name"] == unique


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "manifests/t"), ("POST", "blobs/uploads/"), ("GET", "tags/list")]
)
def test_a_bad_name_is_refused(repository: WireRepository, name: str, method: str, path: str) -> None:
    """H5. "Error Codes": NAME_INVALID; nothing is decoded first."""
    answer = repository(method, f"/v2/{name}/{path}")
    assert answer.status in (400, 404)
    assert answer.code in ("NAME_INVALID", "NAME_UNKNOWN")


def test_the_longest_name_is_taken(repository: WireRepository) -> None:
    """255 characters."""
    longest = f"long{next(NUMBERS)}/"
    other = WireRepository(repository.wire, longest + "a" * (255 - len(longest)))
    assert other.push(b"x")


@pytest.mark.parametrize(
    "tag", ["-x", ".x", "x" * 129, "a%2fb", "a%20b", "@", "%2e%2e", "ä".encode().hex("%")]
)
def test_a_bad_tag_is_refused(repository: WireRepository, tag: str) -> None:
    """'Pushing Manifests': `<reference>` as a tag; the sentence says what a tag may be."""
    answer = repository("PUT", f"manifests/{tag}", body=b"{}", headers={"Content-Type": OCI_MANIFEST})
    assert (answer.status, answer.code) == (400, "TAG_INVALID")
    assert "128" in answer.json()["errors"][0]["message"]


@pytest.mark.parametrize("path", ["//v2/", "//v2/a/manifests/t", "/v2//a/manifests/t", "/v2/a/manifests/t/"])
def test_a_slash_too_many_is_told_in_json(repository: WireRepository, path: str) -> None:
    """H5. "Error Codes": also where a base address that ends with a slash leads."""
    answer = repository("GET", path)
    assert answer.status in (400, 404)
    assert answer.headers["content-type"] == "application/json"
