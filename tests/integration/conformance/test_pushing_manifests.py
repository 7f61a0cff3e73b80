"""distribution-spec, "Pushing Manifests": every kind of document, references, subjects, tags, conditions."""

import json
import socket
from typing import Any

import pytest

from tests.support.distribution import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    NewRepository,
    WireRepository,
    digest,
    document,
)
from tests.support.raw import read_answer

MISSING = "sha256:" + "c" * 64
ARTIFACT = "application/vnd.example.thing"
PLATFORMS = [{"os": "linux", "architecture": "amd64"}, {"os": "linux", "architecture": "arm64"}]


def _check_stored(repository: WireRepository, raw: bytes, media_type: str, **sent: Any) -> None:
    for reference in (digest(raw), "t"):
        done = repository.put(raw, reference, media_type=media_type, **sent)
        assert done.status == 201, done
        assert done.headers["docker-content-digest"] == digest(raw)
        assert done.headers["location"] == f"/v2/{repository.name}/manifests/{digest(raw)}"
        got = repository("GET", done.headers["location"])
        assert (got.status, got.body, got.headers["content-type"]) == (200, raw, media_type)
    assert repository("GET", "manifests/t").body == raw


def _image(repository: WireRepository) -> bytes:
    return repository.manifest(repository.descriptor(b"layer"))


def _no_layers(repository: WireRepository) -> bytes:
    return repository.manifest()


def _many_fields(repository: WireRepository) -> bytes:
    return repository.manifest(
        repository.descriptor(b"layer", **{"com.example.more": [1, {"x": None}]}),
        **{"com.example.field": {"deep": [1.5, True]}, "annotations": {"a": "b"}},
    )


def _artifact(repository: WireRepository) -> bytes:
    empty = repository.descriptor(b"{}", OCI_EMPTY)
    return repository.manifest(empty, config=empty, artifactType=ARTIFACT)


def _data_fields(repository: WireRepository) -> bytes:
    layer = repository.descriptor(b"{}", OCI_EMPTY, data="e30=")
    return repository.manifest(layer, config=layer, artifactType=ARTIFACT)


def _foreign_layers(repository: WireRepository) -> bytes:
    """Their bytes are elsewhere and never pushed."""
    far = {"digest": MISSING, "size": 123456, "urls": ["https://store.example.com/blob"]}
    return repository.manifest(
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", **far},
        {"mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar", **far, "size": 1},
        repository.descriptor(b"near"),
    )


def _large(repository: WireRepository) -> bytes:
    notes = {f"large-{n}": "A" * 10_000 for n in range(390)}
    return repository.manifest(repository.descriptor(b"layer"), annotations=notes)


def _docker(repository: WireRepository) -> bytes:
    kind = "application/vnd.docker.container.image.v1+json"
    layer = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    return document(
        {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": repository.descriptor(b'{"os":"linux"}', kind),
            "layers": [repository.descriptor(b"layer", layer)],
        }
    )


def _index(repository: WireRepository) -> bytes:
    children = [repository.put_image() for _ in PLATFORMS]
    return repository.index(
        [repository.describe(raw, platform=each) for raw, each in zip(children, PLATFORMS, strict=True)]
    )


def _docker_list(repository: WireRepository) -> bytes:
    child = repository.put_image()
    listed = [repository.describe(child, platform=PLATFORMS[0])]
    return document({"schemaVersion": 2, "mediaType": DOCKER_LIST, "manifests": listed})


def _nested_index(repository: WireRepository) -> bytes:
    inner = []
    for _ in range(2):
        raw = _index(repository)
        assert repository.put(raw).status == 201
        inner.append(repository.describe(raw))
    return repository.index(inner)


def _empty_index(repository: WireRepository) -> bytes:
    return repository.index([])


def _attested_index(repository: WireRepository) -> bytes:
    """BuildKit's: a child of platform unknown/unknown, another one without a platform."""
    unknown = {"os": "unknown", "architecture": "unknown"}
    return repository.index(
        [
            repository.describe(repository.put_image(), platform=unknown),
            repository.describe(repository.put_image()),
        ],
        artifactType=ARTIFACT,
    )


KINDS = {
    "image": (_image, OCI_MANIFEST),
    "no-layers": (_no_layers, OCI_MANIFEST),
    "unknown-fields": (_many_fields, OCI_MANIFEST),
    "artifact": (_artifact, OCI_MANIFEST),
    "data-fields": (_data_fields, OCI_MANIFEST),
    "foreign-layers": (_foreign_layers, OCI_MANIFEST),
    "large": (_large, OCI_MANIFEST),
    "docker": (_docker, DOCKER_MANIFEST),
    "index": (_index, OCI_INDEX),
    "docker-list": (_docker_list, DOCKER_LIST),
    "nested-index": (_nested_index, OCI_INDEX),
    "empty-index": (_empty_index, OCI_INDEX),
    "attested-index": (_attested_index, OCI_INDEX),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_manifest_is_stored_as_it_is(repository: WireRepository, kind: str) -> None:
    """'Pushing Manifests', end-7: exact bytes and media type, by digest and by tag."""
    build, media_type = KINDS[kind]
    _check_stored(repository, build(repository), media_type)


def test_sha512_runs_through_all(repository: WireRepository) -> None:
    """1.2: manifests and all they refer to under sha512."""
    layer = repository.descriptor(b"layer", algorithm="sha512")
    config = repository.descriptor(b'{"os":"linux"}', OCI_CONFIG, algorithm="sha512")
    child = repository.manifest(layer, config=config)
    wanted = digest(child, "sha512")
    done = repository.put(child, wanted)
    assert (done.status, done.headers["docker-content-digest"]) == (201, wanted)
    index = repository.index([repository.describe(child, "sha512")])
    top = digest(index, "sha512")
    tagged = repository.put(index, f"{top}?tag=one&tag=two")
    assert (tagged.status, tagged.headers["docker-content-digest"]) == (201, top)
    for reference in (top, "one", "two"):
        got = repository("GET", f"manifests/{reference}")
        assert (got.body, got.headers["docker-content-digest"]) == (index, top)
    assert repository("GET", f"manifests/{wanted}").body == child


def test_tags_come_as_parameters(repository: WireRepository, registry_port: int) -> None:
    """1.2, "Pushing Manifests": `tag` parameters on a push by digest; each is told in OCI-Tag."""
    import http.client

    raw = _image(repository)
    connection = http.client.HTTPConnection("127.0.0.1", registry_port, timeout=60)
    path = f"/v2/{repository.name}/manifests/{digest(raw)}?tag=a&tag=b&tag=a"
    connection.request("PUT", path, body=raw, headers={"Content-Type": OCI_MANIFEST})
    answer = connection.getresponse()
    told = answer.headers.get_all("OCI-Tag") or []
    answer.read()
    connection.close()
    assert (answer.status, sorted(told)) == (201, ["a", "b"])
    assert repository("GET", "tags/list").json()["tags"] == ["a", "b"]


@pytest.mark.parametrize(("count", "status"), [(32, 201), (33, 414), (65, 414)])
def test_so_many_tags_come_as_parameters(repository: WireRepository, count: int, status: int) -> None:
    """1.2, "Pushing Manifests": at least ten tags at once; 414 for more than are taken, and none is set."""
    raw = _image(repository)
    query = "&".join(f"tag=t{n}" for n in range(count))
    answer = repository.put(raw, f"{digest(raw)}?{query}")
    assert answer.status == status
    if status == 414:
        assert answer.code == "UNSUPPORTED"
        assert "tag" in answer.json()["errors"][0]["message"]
        assert repository("HEAD", f"manifests/{digest(raw)}").status == 404


@pytest.mark.parametrize("tag", ["-x", "a/b", ".x", "x" * 129, "ä", "a b"])
def test_what_is_no_tag_is_refused(repository: WireRepository, tag: str) -> None:
    """'Pushing Manifests': a tag is `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`."""
    from urllib.parse import quote

    raw = _image(repository)
    refused = repository.put(raw, f"{digest(raw)}?tag={quote(tag, safe='')}")
    assert (refused.status, refused.code) == (400, "TAG_INVALID")
    assert repository("HEAD", f"manifests/{digest(raw)}").status == 404, "nothing of a refused push is kept"


def test_a_manifest_under_another_digest_is_refused(repository: WireRepository) -> None:
    """'Pushing Manifests': DIGEST_INVALID."""
    raw = _image(repository)
    refused = repository.put(raw + b"  ", digest(raw), media_type=OCI_MANIFEST)
    assert (refused.status, refused.code) == (400, "DIGEST_INVALID")
    nonsense = repository.put(raw, "sha256:baddigeststring")
    assert (nonsense.status, nonsense.code) == (400, "DIGEST_INVALID")


@pytest.mark.parametrize("part", ["config", "layer"])
def test_a_missing_blob_is_named(repository: WireRepository, part: str) -> None:
    """M4. "Pushing Manifests": MANIFEST_BLOB_UNKNOWN, with the digest that is missing."""
    gone = {"mediaType": OCI_LAYER, "digest": MISSING, "size": 5}
    raw = repository.manifest(config=gone) if part == "config" else repository.manifest(gone)
    refused = repository.put(raw, "t")
    assert (refused.status, refused.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert MISSING in refused.json()["errors"][0]["message"]
    assert refused.json()["errors"][0]["detail"] == {"digest": MISSING}
    assert repository("HEAD", "manifests/t").status == 404


def test_a_blob_of_another_repository_is_missing_here(new_repository: NewRepository) -> None:
    """M4: what another repository has is not told."""
    elsewhere = new_repository().descriptor(b"only there")
    repository = new_repository()
    refused = repository.put(repository.manifest(elsewhere), "t")
    assert (refused.status, refused.code) == (404, "MANIFEST_BLOB_UNKNOWN")


def test_a_missing_child_is_named(repository: WireRepository) -> None:
    """M4. "Pushing Manifests": an index refers to manifests of the same repository."""
    gone = {"mediaType": OCI_MANIFEST, "digest": MISSING, "size": 5}
    refused = repository.put(repository.index([gone]), "t")
    assert (refused.status, refused.code) == (404, "MANIFEST_BLOB_UNKNOWN")
    assert MISSING in refused.json()["errors"][0]["message"]


def test_sparse_manifests_are_taken_when_allowed(sparse_repository: WireRepository) -> None:
    """1.2: a registry may take manifests whose references are missing (here: setting `sparse = all`)."""
    gone = {"mediaType": OCI_LAYER, "digest": MISSING, "size": 5}
    image = sparse_repository.manifest(sparse_repository.descriptor(b"here"), gone)
    assert sparse_repository.put(image, "image").status == 201
    far = {"mediaType": OCI_MANIFEST, "digest": MISSING, "size": 5, "platform": PLATFORMS[1]}
    index = sparse_repository.index([sparse_repository.describe(image, platform=PLATFORMS[0]), far])
    assert sparse_repository.put(index, "index").status == 201
    assert sparse_repository("GET", "manifests/index").body == index
    assert sparse_repository("DELETE", f"manifests/{digest(index)}").status == 202


@pytest.mark.parametrize("present", [True, False], ids=["present", "missing"])
def test_a_subject_is_acknowledged(repository: WireRepository, present: bool) -> None:
    """M6. "Pushing Manifests with Subject": OCI-Subject, and a missing subject is fine."""
    gone = {"mediaType": OCI_MANIFEST, "digest": MISSING, "size": 123}
    subject = repository.describe(repository.put_image()) if present else gone
    empty = repository.descriptor(b"{}", OCI_EMPTY)
    raw = repository.manifest(empty, config=empty, artifactType=ARTIFACT, subject=subject)
    done = repository.put(raw)
    assert (done.status, done.headers["oci-subject"]) == (201, subject["digest"])
    index = repository.index([], subject=subject)
    assert repository.put(index).headers["oci-subject"] == subject["digest"]


def test_without_subject_none_is_acknowledged(repository: WireRepository) -> None:
    """'Pushing Manifests with Subject'."""
    assert "oci-subject" not in repository.put(_image(repository)).headers


def test_a_tag_may_change_what_it_names(repository: WireRepository) -> None:
    """'Pushing Manifests': another document, of another kind, under the same tag."""
    assert repository.put(_image(repository), "t").status == 201
    index = _index(repository)
    assert repository.put(index, "t").status == 201
    assert repository("GET", "manifests/t").headers["content-type"] == OCI_INDEX


def test_pushing_the_same_twice_changes_nothing(repository: WireRepository) -> None:
    """'Pushing Manifests'."""
    raw = _image(repository)
    assert [repository.put(raw, "t").status for _ in range(2)] == [201, 201]
    assert repository("GET", "manifests/t").body == raw


def test_conditions_are_decided_with_the_tag(repository: WireRepository) -> None:
    """RFC 9110 13.1: If-None-Match: * creates only, If-Match replaces only what the client has seen."""
    first, second = repository.put_image("t"), _image(repository)
    kind = {"Content-Type": OCI_MANIFEST}
    taken = repository("PUT", "manifests/t", body=second, headers={**kind, "If-None-Match": "*"})
    assert taken.status == 412
    stale = repository("PUT", "manifests/t", body=second, headers={**kind, "If-Match": f'"{MISSING}"'})
    assert stale.status == 412
    assert repository("GET", "manifests/t").body == first
    right = {**kind, "If-Match": f'"{digest(first)}"'}
    assert repository("PUT", "manifests/t", body=second, headers=right).status == 201
    new = repository("PUT", "manifests/new", body=second, headers={**kind, "If-None-Match": "*"})
    assert new.status == 201


NO_MANIFESTS = {
    "not-json": b"hello",
    "empty": b"",
    "list": b"[]",
    "trailing": b"{} x",
    "bom": b"\xef\xbb\xbf{}",
    "nul": b'{"a":"\x00"}',
    "nan": b'{"schemaVersion":2,"x":NaN}',
    "infinite": b'{"schemaVersion":2,"x":1e999}',
    "digits": b'{"schemaVersion":2,"x":' + b"9" * 5000 + b"}",
    "surrogate": b'{"schemaVersion":2,"x":"\\ud800"}',
    "twice": b'{"schemaVersion":2,"schemaVersion":2}',
    "deep": b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}",
    "wide": b'{"x":[' + b"{}," * 60_000 + b"{}]}",
    "both": b'{"schemaVersion":2,"layers":[],"manifests":[]}',
    "schema-1": b'{"schemaVersion":1,"name":"x","fsLayers":[]}',
    "another-type": document({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}),
}


@pytest.mark.parametrize("name", NO_MANIFESTS)
def test_what_is_no_manifest_is_refused(repository: WireRepository, name: str) -> None:
    """M2, M3. 'Pushing Manifests': MANIFEST_INVALID."""
    sent = {"Content-Type": OCI_MANIFEST}
    refused = repository("PUT", "manifests/t", body=NO_MANIFESTS[name], headers=sent)
    assert (refused.status, refused.code) == (400, "MANIFEST_INVALID"), refused


@pytest.mark.parametrize("size", [0, -1, 6, 2**63, 5.0, True, "5", None])
def test_a_descriptor_must_tell_the_true_size(repository: WireRepository, size: object) -> None:
    """M7: a size that is not what is stored is refused."""
    layer = {**repository.descriptor(b"12345"), "size": size}
    refused = repository.put(repository.manifest(layer), "t")
    assert refused.status == 400
    assert refused.code in ("MANIFEST_INVALID", "SIZE_INVALID")


def test_a_manifest_has_a_largest_size(repository: WireRepository, registry_port: int) -> None:
    """M1. 'Pushing Manifests': at least 4 MiB must be taken; more is 413, told before the body is sent."""
    limit = 4 * 1024 * 1024
    base = repository.manifest(repository.descriptor(b"layer"))
    assert repository.put(base + b" " * (limit - len(base)), "t").status == 201
    head = f"PUT /v2/{repository.name}/manifests/u HTTP/1.1\r\nHost: localhost\r\n"
    head += f"Content-Type: {OCI_MANIFEST}\r\n"
    with socket.create_connection(("127.0.0.1", registry_port), timeout=60) as announced:
        announced.sendall(f"{head}Content-Length: {limit + 1}\r\n\r\n".encode())
        answer = read_answer(announced)
    assert (answer.status, answer.code) == (413, "SIZE_INVALID")
    body = f"{limit + 1:x}\r\n".encode() + bytes(limit + 1)
    with socket.create_connection(("127.0.0.1", registry_port), timeout=60) as chunked:
        chunked.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode() + body)
        assert read_answer(chunked).status == 413
    assert repository("HEAD", "manifests/u").status == 404


def test_indexes_have_a_largest_depth(repository: WireRepository) -> None:
    """M5: eight levels, then a refusal."""
    raw = repository.put_image()
    statuses = []
    for _ in range(9):
        raw = repository.index([repository.describe(raw)])
        statuses.append(repository.put(raw).status)
    assert statuses == [*[201] * 8, 400]


def test_an_index_has_a_largest_width(repository: WireRepository) -> None:
    """M5."""
    child = repository.describe(repository.put_image())
    wide = [{**child, "annotations": {"n": str(n)}} for n in range(1001)]
    assert repository.put(repository.index(wide[:1000]), "ok").status == 201
    refused = repository.put(repository.index(wide), "wide")
    assert (refused.status, refused.code) == (400, "MANIFEST_INVALID")


def test_a_manifest_needs_no_content_type_twice(repository: WireRepository) -> None:
    """Parameters of the media type, as a client's HTTP library adds them, do not matter."""
    raw = _image(repository)
    sent = {"Content-Type": f"{OCI_MANIFEST}; charset=utf-8"}
    assert repository("PUT", "manifests/t", body=raw, headers=sent).status == 201
    assert repository("GET", "manifests/t").headers["content-type"] == OCI_MANIFEST


NO_TYPES = [
    "text/html",
    "text/html; x=application/vnd.oci.image.manifest.v1+json",
    "image/svg+xml",
    "application/xhtml+xml",
    "application/json",
    "application/octet-stream",
    "application/x-www-form-urlencoded",
    "*/*",
    "application/vnd oci+json",
]


@pytest.mark.parametrize("media_type", NO_TYPES)
def test_a_media_type_that_is_no_manifests_is_refused(repository: WireRepository, media_type: str) -> None:
    """A browser would show what is kept as a web page; 'Pushing Manifests': the type of the manifest."""
    fields = json.loads(_image(repository))
    del fields["mediaType"]
    refused = repository.put(document(fields), "t", media_type=media_type)
    assert (refused.status, refused.code) == (400, "MANIFEST_INVALID")
    assert OCI_MANIFEST in refused.json()["errors"][0]["message"]


def test_a_media_type_of_several_lines_is_refused(repository: WireRepository) -> None:
    """What is kept would be sent as a header."""
    for more in (
        {"mediaType": "application/x\r\nX-Evil: 1\r\n+json"},
        {"artifactType": "a/b\r\nX-Evil: 1"},
        {"config": {**json.loads(_image(repository))["config"], "mediaType": "a/b\n"}},
    ):
        raw = document({**json.loads(_image(repository)), **more})
        refused = repository("PUT", "manifests/t", body=raw)
        assert (refused.status, refused.code) == (400, "MANIFEST_INVALID"), more


def test_what_a_person_should_do_is_said_first(repository: WireRepository) -> None:
    """'Error Codes': the body's form; docker shows the first message only."""
    errors = json.loads(repository("GET", "manifests/none").body)["errors"]
    assert set(errors[0]) <= {"code", "message", "detail"}
    assert len(errors) == 1
    assert "none" in errors[0]["message"]
