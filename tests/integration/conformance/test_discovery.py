"""distribution-spec, "Content Discovery": tags, referrers; and the catalog, which clients fall back to."""

import pytest

from tests.support.distribution import OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, WireRepository, digest

MISSING = "sha256:" + "d" * 64
ZERO = "sha256:" + "0" * 64


def _follow(repository: WireRepository, path: str, key: str) -> list[list[object]]:
    """Every page, by its links."""
    pages: list[list[object]] = []
    while True:
        answer = repository("GET", path)
        assert answer.status == 200, answer
        pages.append(answer.json()[key])
        link = answer.headers.get("link")
        if link is None:
            return pages
        assert link.startswith("</v2/")
        assert link.endswith('>; rel="next"')
        path = link[1 : link.index(">")]


@pytest.fixture
def tagged(repository: WireRepository) -> list[str]:
    raw = repository.put_image("zulu")
    names = ["zulu", "Alpha", "_x", "a.b", "a-b", "a", "b1", "b10", "b2", "0"]
    for name in names:
        assert repository.put(raw, name).status == 201
    return sorted(names, key=str.encode)


def test_tags_are_listed_in_order(repository: WireRepository, tagged: list[str]) -> None:
    """'Listing Tags', end-8a: lexical ("ASCIIbetical") order."""
    answer = repository("GET", "tags/list")
    assert answer.json() == {"name": repository.name, "tags": tagged}
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers


@pytest.mark.parametrize("size", [1, 3, 5, 10, 11])
def test_tags_come_in_pages(repository: WireRepository, tagged: list[str], size: int) -> None:
    """'Listing Tags', end-8b: at most n, and a Link while there are more."""
    pages = _follow(repository, f"tags/list?n={size}", "tags")
    assert [tag for page in pages for tag in page] == tagged
    assert all(len(page) == size for page in pages[:-1])
    assert len(pages) == -(-len(tagged) // size)


def test_last_need_not_exist(repository: WireRepository, tagged: list[str]) -> None:
    """'Listing Tags': everything after `last`, which is not itself among it."""
    for last in ("a.b", "a.c", "nonsense"):
        after = repository("GET", f"tags/list?last={last}").json()["tags"]
        assert after == [tag for tag in tagged if tag > last]
    assert repository("GET", "tags/list?last=zzz").json()["tags"] == []


def test_no_tags_when_none_are_asked_for(repository: WireRepository, tagged: list[str]) -> None:
    """'Listing Tags': n=0 is an empty list, and no Link."""
    answer = repository("GET", "tags/list?n=0")
    assert (answer.status, answer.json()["tags"]) == (200, [])
    assert "link" not in answer.headers


@pytest.mark.parametrize("count", ["1001", "1" + "0" * 18, "9" * 30])
def test_large_counts_are_clamped(repository: WireRepository, tagged: list[str], count: str) -> None:
    """H7."""
    assert repository("GET", f"tags/list?n={count}").json()["tags"] == tagged


@pytest.mark.parametrize("count", ["-1", "1e9", "1.5", "ten", "", "%2B1", "0x10"])
@pytest.mark.parametrize("path", ["tags/list", "/v2/_catalog", f"referrers/{ZERO}"])
def test_what_is_no_count_is_refused(repository: WireRepository, path: str, count: str) -> None:
    """H7."""
    answer = repository("GET", f"{path}?n={count}")
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")


def test_a_very_long_last_is_refused(repository: WireRepository) -> None:
    """H7: refused before it reaches the database."""
    assert repository("GET", "tags/list?last=" + "a" * 5000).status == 400
    assert repository("GET", "tags/list?last=" + "a" * 20_000).status == 414


@pytest.mark.parametrize(
    "path",
    [
        "tags/list?last=%00",
        "/v2/_catalog?n=1&last=a%00",
        f"referrers/{ZERO}?artifactType=%00",
        "/v1/search?q=%00",
        "/api/v1/search?q=%00",
        "/search?q=%00",
    ],
)
def test_a_nul_never_reaches_the_database(repository: WireRepository, path: str) -> None:
    """H7: PostgreSQL knows no text with one, and would fail."""
    repository.put_image("t")
    answer = repository("GET", path)
    assert (answer.status, answer.code) == (400, "UNSUPPORTED")


def test_a_page_with_a_nul_in_its_address_is_not_there(repository: WireRepository) -> None:
    """H7."""
    assert repository("GET", "/p/a%00b").status == 404


def test_a_repository_without_tags_has_an_empty_list(repository: WireRepository) -> None:
    """'Listing Tags': `tags` is never null."""
    repository.put_image()
    assert repository("GET", "tags/list").json() == {"name": repository.name, "tags": []}


def test_an_unknown_repository_has_no_list(repository: WireRepository) -> None:
    """'Listing Tags': NAME_UNKNOWN."""
    answer = repository("GET", "tags/list")
    assert (answer.status, answer.code) == (404, "NAME_UNKNOWN")


def test_the_catalog_lists_repositories(repository: WireRepository) -> None:
    """Clients that search fall back to it."""
    repository.put_image("t")
    pages = _follow(repository, "/v2/_catalog?n=2", "repositories")
    names = [str(name) for page in pages for name in page]
    assert repository.name in names
    assert names == sorted(names, key=str.encode)
    after = repository("GET", f"/v2/_catalog?last={repository.name}").json()["repositories"]
    assert repository.name not in after


def _referrer(repository: WireRepository, subject: dict[str, object], kind: str, note: str) -> bytes:
    empty = repository.descriptor(b"{}", OCI_EMPTY)
    raw = repository.manifest(
        empty, config=empty, artifactType=kind, subject=subject, annotations={"note": note}
    )
    assert repository.put(raw).status == 201
    return raw


def test_referrers_are_listed_with_what_they_are(repository: WireRepository) -> None:
    """'Listing Referrers', end-12a: an index of descriptors with artifact type and annotations."""
    subject = repository.describe(repository.put_image("image"))
    signature = _referrer(repository, subject, "application/vnd.example.signature", "one")
    # Without an artifact type of its own, it is the config's media type.
    plain = repository.manifest(
        config=repository.descriptor(b"c", "application/vnd.example.config"), subject=subject
    )
    assert repository.put(plain).status == 201
    index = repository.index([], subject=subject, artifactType="application/vnd.example.list")
    assert repository.put(index).status == 201
    answer = repository("GET", f"referrers/{subject['digest']}")
    assert (answer.status, answer.headers["content-type"]) == (200, OCI_INDEX)
    listed = answer.json()
    assert (listed["schemaVersion"], listed["mediaType"]) == (2, OCI_INDEX)
    assert "oci-filters-applied" not in answer.headers
    found = {entry["digest"]: entry for entry in listed["manifests"]}
    assert set(found) == {digest(signature), digest(plain), digest(index)}
    assert found[digest(signature)] == {
        "mediaType": OCI_MANIFEST,
        "digest": digest(signature),
        "size": len(signature),
        "artifactType": "application/vnd.example.signature",
        "annotations": {"note": "one"},
    }
    assert found[digest(plain)]["artifactType"] == "application/vnd.example.config"
    assert found[digest(index)]["mediaType"] == OCI_INDEX


def test_what_has_no_artifact_type_is_listed_without(repository: WireRepository) -> None:
    """'Listing Referrers': an index without one has none; of a manifest an empty one counts as none."""
    subject = repository.describe(repository.put_image("image"))
    index = repository.index([], subject=subject)
    config = repository.descriptor(b"c", "application/vnd.example.config")
    plain = repository.manifest(config=config, subject=subject, artifactType="")
    for raw in (index, plain):
        assert repository.put(raw).headers["oci-subject"] == subject["digest"]
    listed = repository("GET", f"referrers/{subject['digest']}").json()["manifests"]
    found = {entry["digest"]: entry.get("artifactType") for entry in listed}
    assert found == {digest(index): None, digest(plain): "application/vnd.example.config"}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_referrers_tagged_as_older_clients_do_are_listed_too(
    repository: WireRepository, algorithm: str
) -> None:
    """'Enabling the Referrers API': what an index under the fallback tag names, it names once."""
    image = repository.manifest(repository.descriptor(b"layer"))
    assert repository.put(image, digest(image, algorithm)).status == 201
    subject = repository.describe(image, algorithm)
    signature = _referrer(repository, subject, "application/vnd.example.signature", "one")
    fallback = f"{algorithm}-{digest(image, algorithm).partition(':')[2][:64]}"
    assert repository.put(repository.index([repository.describe(signature)]), fallback).status == 201
    listed = repository("GET", f"referrers/{subject['digest']}").json()["manifests"]
    assert [entry["digest"] for entry in listed] == [digest(signature)]
    assert repository("GET", f"manifests/{fallback}").status == 200


def test_referrers_are_filtered_by_type(repository: WireRepository) -> None:
    """'Listing Referrers', end-12b: OCI-Filters-Applied says that it was done."""
    subject = repository.describe(repository.put_image("image"))
    wanted = _referrer(repository, subject, "application/vnd.example.sbom+json", "sbom")
    _referrer(repository, subject, "application/vnd.example.signature", "signature")
    path = f"referrers/{subject['digest']}?artifactType=application%2Fvnd.example.sbom%2Bjson"
    answer = repository("GET", path)
    assert answer.headers["oci-filters-applied"] == "artifactType"
    assert [entry["digest"] for entry in answer.json()["manifests"]] == [digest(wanted)]


def test_referrers_come_in_pages(repository: WireRepository) -> None:
    """M6. "Listing Referrers": Link, also with a filter."""
    subject = repository.describe(repository.put_image("image"))
    kind = "application/vnd.example.signature"
    pushed = {digest(_referrer(repository, subject, kind, str(n))) for n in range(5)}
    pages = _follow(repository, f"referrers/{subject['digest']}?n=2&artifactType={kind}", "manifests")
    assert [len(page) for page in pages] == [2, 2, 1]
    assert {entry["digest"] for page in pages for entry in page} == pushed  # type: ignore[index]


@pytest.mark.parametrize("subject", [MISSING, ZERO, "sha512:" + "0" * 128])
@pytest.mark.parametrize("known", [True, False], ids=["repository", "no-repository"])
def test_no_referrers_are_an_empty_index(repository: WireRepository, subject: str, known: bool) -> None:
    """'Listing Referrers': 200 with an empty list, never 404."""
    if known:
        repository.put_image("t")
    answer = repository("GET", f"referrers/{subject}")
    assert (answer.status, answer.json()["manifests"]) == (200, [])
    assert answer.headers["content-type"] == OCI_INDEX


@pytest.mark.parametrize("path", ["tags/list", "/v2/_catalog", f"referrers/{ZERO}"])
def test_head_tells_of_a_list_what_get_would(repository: WireRepository, path: str) -> None:
    """RFC 9110 9.3.2: whatever GET answers, HEAD does without a body."""
    repository.put_image("t")
    listed, told = repository("GET", path), repository("HEAD", path)
    assert (told.status, told.body) == (200, b"")
    for name in ("content-type", "content-length"):
        assert told.headers[name] == listed.headers[name]


@pytest.mark.parametrize("subject", ["sha256:nonsense", "latest", "sha256%3Anonsense"])
def test_referrers_of_what_is_no_digest_are_refused(repository: WireRepository, subject: str) -> None:
    """'Listing Referrers': 400 for a malformed digest."""
    answer = repository("GET", f"referrers/{subject}")
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")


def test_a_referrer_outlives_a_subject_pushed_later(repository: WireRepository) -> None:
    """'Pushing Manifests with Subject': the subject may come afterwards."""
    raw = repository.manifest(repository.descriptor(b"later"))
    referrer = _referrer(repository, repository.describe(raw), "application/vnd.example.signature", "early")
    assert repository.put(raw, "t").status == 201
    listed = repository("GET", f"referrers/{digest(raw)}").json()["manifests"]
    assert [entry["digest"] for entry in listed] == [digest(referrer)]


def test_docker_search_finds_repositories(repository: WireRepository) -> None:
    """What `docker search HOST/TERM` asks."""
    repository.put_image("t")
    assert repository("GET", "/v1/_ping").headers["x-docker-registry-standalone"] == "true"
    term = repository.name.rpartition("/")[2]
    found = repository("GET", f"/v1/search?q={term}&n=100").json()
    assert found["query"] == term
    assert repository.name in [result["name"] for result in found["results"]]
    assert set(found["results"][0]) == {
        "name",
        "description",
        "star_count",
        "is_official",
        "is_automated",
    }
