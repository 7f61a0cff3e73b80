"""K4: a registry that lies is found out before anything of its lie is kept."""

import gzip
import itertools
import socket
from pathlib import Path

import msgspec
import pytest

from entrepot.client.errors import (
    AnswerTooLarge,
    DestinationForbidden,
    RegistryMisbehaved,
    RegistryUnreachable,
)
from entrepot.client.hosts import RegistrySettings
from entrepot.client.registry import open_repository
from entrepot.client.settings import ClientSettings
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import PutResult
from entrepot.content.verify import DigestMismatch, SizeMismatch, VerifiedReader
from entrepot.errors import VerificationFailed
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_manifest
from entrepot.oci.reference import Reference
from tests.integration.client.conftest import repository_of, routes
from tests.support.lying_registry import (
    Reply,
    Request,
    lying_registry,
    quick_settings,
    server_certificate,
)

DATA = bytes(range(256)) * 4000
BLOB = Descriptor(mediatype.OCI_LAYER, Digest.of(DATA), len(DATA))
CONFIG = Descriptor(mediatype.OCI_CONFIG, Digest.of(b"{}"), 2)
MANIFEST = build_manifest(CONFIG, [BLOB]).raw
GZIP = {"Content-Encoding": "gzip"}
MANIFEST_TYPE = {"Content-Type": mediatype.OCI_MANIFEST}


def pull_blob(reply: Reply, settings: ClientSettings) -> MemoryStore:
    """Move the blob into a store, which is handed back for inspection when that fails."""
    store = MemoryStore()
    with (
        lying_registry(routes({("GET", "/blobs/"): reply})) as registry,
        repository_of(registry, settings).open_blob(BLOB) as stream,
    ):
        store.put_blob(BLOB, stream)
    return store


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, body=DATA[:-1] + b"x"), DigestMismatch),
        (Reply(200, body=DATA[:-1]), SizeMismatch),
        (Reply(200, body=DATA + b"x"), SizeMismatch),
        (Reply(200, body=itertools.repeat(bytes(65536))), VerificationFailed),
        (Reply(200, {"Content-Encoding": "gzip"}, gzip.compress(DATA)), RegistryMisbehaved),
        (Reply(200, {"Content-Encoding": "br"}, DATA), RegistryMisbehaved),
        (Reply(200, {"Content-Length": "-5"}, DATA), RegistryMisbehaved),
        (Reply(206, {"Content-Range": "bytes 7-9/10"}, DATA), RegistryMisbehaved),
        (Reply(200, {"Transfer-Encoding": "chunked"}, b"5\r\nhello\r\n0\r\n\r\n"), SizeMismatch),
    ],
    ids=[
        "other bytes",
        "short",
        "long",
        "endless",
        "gzip",
        "brotli",
        "negative length",
        "another part",
        "short chunks",
    ],
)
def test_k4_a_blob_that_is_not_what_was_promised_is_refused(
    reply: Reply, error: type[Exception], settings: ClientSettings
) -> None:
    with pytest.raises(error):
        pull_blob(reply, settings)


def test_k4_a_connection_that_is_always_cut_gives_up_and_keeps_nothing(settings: ClientSettings) -> None:
    with pytest.raises(RegistryUnreachable):
        pull_blob(Reply(200, {"Content-Length": str(len(DATA))}, b"", cut=True), settings)


def test_k4_of_an_endless_body_not_more_than_promised_is_read(settings: ClientSettings) -> None:
    body = itertools.repeat(bytes(1024))
    with (
        lying_registry(routes({("GET", "/blobs/"): Reply(200, body=body)})) as registry,
        repository_of(registry, settings).open_blob(BLOB) as stream,
    ):
        reader = VerifiedReader(stream, BLOB)
        with pytest.raises(VerificationFailed):
            reader.read()
        assert reader.offset <= BLOB.size


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(200, MANIFEST_TYPE, bytes(5 * 1024 * 1024)), AnswerTooLarge),
        (Reply(200, MANIFEST_TYPE, itertools.repeat(bytes(65536))), AnswerTooLarge),
        (
            Reply(200, {**MANIFEST_TYPE, "Docker-Content-Digest": str(Digest.of(b"other"))}, MANIFEST),
            RegistryMisbehaved,
        ),
        (
            Reply(200, {**MANIFEST_TYPE, "Content-Encoding": "gzip"}, gzip.compress(MANIFEST)),
            RegistryMisbehaved,
        ),
        (Reply(200, {"Content-Type": "text/html"}, b"<html>please log in</html>"), RegistryMisbehaved),
    ],
    ids=["too large", "endless", "other digest", "gzip", "a web page"],
)
def test_k4_a_manifest_that_lies_is_refused(
    reply: Reply, error: type[Exception], settings: ClientSettings
) -> None:
    with lying_registry(routes({("GET", "/manifests/"): reply})) as registry, pytest.raises(error):
        repository_of(registry, settings).get_manifest("latest")


def test_k4_a_manifest_by_digest_must_have_that_digest(settings: ClientSettings) -> None:
    with (
        lying_registry(routes({("GET", "/manifests/"): Reply(200, MANIFEST_TYPE, MANIFEST)})) as registry,
        pytest.raises(DigestMismatch),
    ):
        repository_of(registry, settings).get_manifest(Digest.of(b"another"))


def test_k4_redirects_end_after_five(settings: ClientSettings) -> None:
    loop = Reply(307, {"Location": "/v2/team/app/blobs/again"})
    with lying_registry(routes({("GET", "/blobs/"): loop})) as registry:
        with pytest.raises(RegistryMisbehaved, match="more than 5 times"):
            repository_of(registry, settings).open_blob(BLOB)
        assert len(registry.asked("GET", "/blobs/")) == 6


@pytest.mark.parametrize(
    "target",
    [
        "file:///etc/passwd",
        "ftp://localhost/x",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/x",
        "http://0.0.0.0:1/x",
        "http://user:secret@localhost/x",
        "http://[::1/x",
        "gopher:x",
    ],
)
def test_k4_redirects_into_strange_places_are_refused(target: str, settings: ClientSettings) -> None:
    with (
        lying_registry(routes({("GET", "/blobs/"): Reply(302, {"Location": target})})) as registry,
        pytest.raises(DestinationForbidden),
    ):
        repository_of(registry, settings).open_blob(BLOB)


def test_k4_a_redirect_from_https_to_http_is_refused(tmp_path: Path, settings: ClientSettings) -> None:
    context, _ = server_certificate(tmp_path)
    with lying_registry(lambda _: Reply(200, body=DATA)) as plain:
        script = routes({("GET", "/blobs/"): Reply(307, {"Location": f"{plain.url}/blob"})})
        with (
            lying_registry(script, context=context) as registry,
            pytest.raises(DestinationForbidden, match="from https"),
        ):
            repository_of(registry, settings).open_blob(BLOB)
        assert plain.requests == []


def test_a_redirect_to_another_host_is_followed(settings: ClientSettings) -> None:
    with lying_registry(lambda _: Reply(200, body=DATA)) as storage:
        script = routes({("GET", "/blobs/"): Reply(307, {"Location": f"{storage.url}/signed?x=1"})})
        with (
            lying_registry(script) as registry,
            repository_of(registry, settings).open_blob(BLOB) as stream,
        ):
            assert stream.read() == DATA
    assert [one.target for one in storage.requests] == ["/signed?x=1"]


@pytest.mark.parametrize(
    "link",
    ['</v2/team/app/tags/list?n=1000>; rel="next"', '</v2/team/app/tags/list?last={n}>; rel="next"'],
    ids=["the same page", "empty pages"],
)
def test_k4_tag_pages_that_go_in_circles_are_refused(link: str, settings: ClientSettings) -> None:
    counter = itertools.count()

    def page(_: Request) -> Reply:
        number = next(counter)
        tags = b'["a"]' if "{n}" not in link else b"[]"
        return Reply(200, {"Link": link.replace("{n}", str(number))}, b'{"tags":' + tags + b"}")

    with lying_registry(routes({("GET", "/tags/list"): page})) as registry:
        with pytest.raises(RegistryMisbehaved):
            repository_of(registry, settings).list_tags()
        assert len(registry.asked("GET", "/tags/list")) <= 2


def test_k4_a_next_page_on_another_host_is_refused(settings: ClientSettings) -> None:
    with lying_registry(lambda _: Reply(200, body=b'{"tags":["b"]}')) as other:
        page = Reply(200, {"Link": f'<{other.url}/v2/x/tags/list>; rel="next"'}, b'{"tags":["a"]}')
        with (
            lying_registry(routes({("GET", "/tags/list"): page})) as registry,
            pytest.raises(DestinationForbidden),
        ):
            repository_of(registry, settings).list_tags()
        assert other.requests == []


def test_k4_an_upload_location_on_another_host_is_refused(settings: ClientSettings) -> None:
    with lying_registry(lambda _: Reply(201)) as other:
        script = routes({("POST", "/uploads/"): Reply(202, {"Location": f"{other.url}/take"})})
        with lying_registry(script) as registry:
            repository = repository_of(registry, settings, push=True)
            store = MemoryStore()
            store.add_blob(DATA)
            with pytest.raises(DestinationForbidden):
                repository.put_blob(BLOB, store.open_blob(BLOB))
        assert other.requests == []


def test_k4_an_upload_location_that_is_no_url_is_refused(settings: ClientSettings) -> None:
    script = routes({("POST", "/uploads/"): Reply(202, {"Location": "http://[::1/x"})})
    store = MemoryStore()
    store.add_blob(DATA)
    with lying_registry(script) as registry, pytest.raises(DestinationForbidden):
        repository_of(registry, settings, push=True).put_blob(BLOB, store.open_blob(BLOB))


def test_a_relative_upload_location_may_have_an_address_in_its_query(settings: ClientSettings) -> None:
    location = {"Location": "/v2/team/app/blobs/uploads/1?from=https://elsewhere.example/x"}
    script = routes({
        ("POST", "/uploads/"): Reply(202, location),
        ("PATCH", "/uploads/1?from=https://elsewhere.example/x"): Reply(202, location),
        ("PUT", "/uploads/1?from=https://elsewhere.example/x"): Reply(201),
    })  # fmt: skip
    with lying_registry(script) as registry:
        store = MemoryStore()
        store.add_blob(DATA)
        result = repository_of(registry, settings, push=True).put_blob(BLOB, store.open_blob(BLOB))
    assert result is PutResult.STORED


def test_k4_errors_of_any_size_and_kind_stay_short_sentences(settings: ClientSettings) -> None:
    noise = Reply(400, {"Content-Type": "application/json"}, itertools.repeat(b"\x1b[2J" * 5000))
    with (
        lying_registry(routes({("GET", "/manifests/"): noise})) as registry,
        pytest.raises(Exception) as caught,
    ):
        repository_of(registry, settings).get_manifest("latest")
    message = str(caught.value)
    assert len(message) < 1000
    assert message.isprintable()


@pytest.mark.parametrize("target", ["127.1", "0x7f.1", "2130706433", "[::ffff:127.0.0.1]", "inside.example"])
def test_a_registry_elsewhere_does_not_send_us_into_this_machine(
    target: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`reg.example` answers through a proxy, so it is elsewhere; what it sends us to is reached without."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **named: resolve(
            "127.0.0.1" if host == "inside.example" else host, *more, **named
        ),
    )
    with lying_registry(lambda _: Reply(200, body=DATA)) as inside:
        script = routes(
            {("GET", "/blobs/"): Reply(307, {"Location": f"http://{target}:{inside.port}/secret"})}
        )
        with lying_registry(script) as proxy:
            settings = msgspec.structs.replace(
                quick_settings(tmp_path, HTTP_PROXY=f"http://{proxy.host}", NO_PROXY=target),
                registries={"reg.example": RegistrySettings(plain_http=True)},
            )
            with pytest.raises(DestinationForbidden, match=r"registry reg\.example sends us to"):
                open_repository(Reference.parse("reg.example/team/app"), client=settings).open_blob(BLOB)
    assert inside.requests == []
