"""Retries, resumed downloads and uploads, and repeated requests whose first answer was lost (U6)."""

import io
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from entrepot.client.errors import RegistryFailed, RegistryUnreachable, TagExists, TooManyRequests
from entrepot.client.settings import ClientSettings
from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ManifestBytes
from entrepot.oci import mediatype
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import build_manifest
from entrepot.transfer.copy import copy
from entrepot.transfer.limits import TransferLimits
from tests.integration.client.conftest import repository_of, routes
from tests.support.lying_registry import LyingRegistry, Reply, Request, lying_registry

CONFIG = b"{}"
DATA = bytes(range(256)) * 12_000  # 3 MB: streamed, in several pieces
BLOB = Descriptor(mediatype.OCI_LAYER, Digest.of(DATA), len(DATA))
MANIFEST = ManifestBytes.from_manifest(
    build_manifest(Descriptor(mediatype.OCI_CONFIG, Digest.of(CONFIG), len(CONFIG)), [BLOB])
)
QUICK = TransferLimits(base_delay_s=0.001)


class Registry:
    """A small registry that works, with hooks for what shall go wrong."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.uploads: dict[str, bytes] = {}
        self.before: Callable[[Request], Reply | str | None] = lambda _: "go on"
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply | None:
        planned = self.before(request)
        if not isinstance(planned, str):
            return planned
        with self._lock:
            return self._answer(request)

    def _answer(self, request: Request) -> Reply:
        last = request.path.rsplit("/", 1)[-1]
        if request.path == "/v2/":
            return Reply(200, body=b"{}")
        if "/uploads/" in request.path:
            return self._upload(request, last)
        if "/blobs/" in request.path:
            return self._blob(request, self.blobs.get(last))
        if request.method == "PUT":
            self.manifests[last] = request.body
            self.manifests[str(Digest.of(request.body))] = request.body
            return Reply(201)
        raw = self.manifests.get(last)
        if raw is None:
            return Reply(404)
        digest = str(Digest.of(raw))
        return Reply(200, {"Content-Type": MANIFEST.media_type, "Docker-Content-Digest": digest}, raw)

    def _blob(self, request: Request, data: bytes | None) -> Reply:
        if data is None:
            return Reply(404)
        start = request.headers.get("range", "bytes=0-").removeprefix("bytes=").rstrip("-")
        if "range" not in request.headers:
            return Reply(200, body=data)
        part = {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        return Reply(206, part, data[int(start) :])

    def _upload(self, request: Request, last: str) -> Reply:
        if request.method == "POST":
            name = f"u{len(self.uploads)}"
            self.uploads[name] = b""
            return Reply(202, {"Location": f"/v2/team/app/blobs/uploads/{name}?state=1"})
        if last not in self.uploads:
            return Reply(404, body=b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN","message":"gone"}]}')
        if request.method == "GET":
            held = max(len(self.uploads[last]) - 1, 0)
            return Reply(
                204, {"Range": f"0-{held}", "Location": f"/v2/team/app/blobs/uploads/{last}?state=2"}
            )
        data = self.uploads.pop(last) + request.body
        self.blobs[request.query["digest"][0]] = data
        return Reply(201)


@pytest.fixture
def source() -> MemoryStore:
    store = MemoryStore()
    store.add_blob(DATA)
    store.add_blob(CONFIG)
    store.put_manifest(MANIFEST, "1")
    return store


def once(reply: Reply | None, when: Callable[[Request], bool]) -> Callable[[Request], Reply | str | None]:
    """`reply` to the first request for which `when` holds."""
    left = [reply]

    def before(request: Request) -> Reply | str | None:
        return left.pop() if left and when(request) else "go on"

    return before


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_hiccup_is_tried_again(status: int, settings: ClientSettings) -> None:
    works = Registry()
    works.manifests["1"] = MANIFEST.raw
    works.before = once(Reply(status, {"Retry-After": "0"}), lambda request: "/manifests/" in request.path)
    with lying_registry(works) as registry:
        assert repository_of(registry, settings).get_manifest("1") == MANIFEST
        assert len(registry.asked("GET", "/manifests/1")) == 2


@pytest.mark.parametrize(("status", "error"), [(503, RegistryFailed), (429, TooManyRequests)])
def test_hiccups_without_end_end_in_words(
    status: int, error: type[Exception], settings: ClientSettings
) -> None:
    with lying_registry(routes({("GET", "/manifests/"): Reply(status)})) as registry:
        with pytest.raises(error):
            repository_of(registry, settings).get_manifest("1")
        assert len(registry.asked("GET", "/manifests/")) == settings.retry.attempts


def test_a_long_retry_after_is_a_quota_and_not_waited_for(settings: ClientSettings) -> None:
    reply = Reply(429, {"Retry-After": "3600"}, b'{"errors":[{"code":"TOOMANYREQUESTS","message":"later"}]}')
    with lying_registry(routes({("GET", "/manifests/"): reply})) as registry:
        with pytest.raises(TooManyRequests, match="toomanyrequests: later") as caught:
            repository_of(registry, settings).get_manifest("1")
        assert len(registry.asked("GET", "/manifests/")) == 1
    assert caught.value.retry_after_s == 3600


def test_a_registry_that_is_not_there_is_not_waited_for(settings: ClientSettings) -> None:
    with lying_registry(lambda _: None) as registry:
        pass
    with pytest.raises(RegistryUnreachable, match="connection refused"):
        repository_of(registry, settings)


@pytest.mark.parametrize("ranges", [True, False], ids=["with ranges", "range ignored"])
def test_a_download_goes_on_where_it_was_cut(
    ranges: bool, settings: ClientSettings, source: MemoryStore
) -> None:
    works = Registry()
    works.manifests["1"] = MANIFEST.raw
    works.blobs = {str(BLOB.digest): DATA, str(Digest.of(CONFIG)): CONFIG}
    cuts = [2_000_000, 1_000_000]

    def before(request: Request) -> Reply | str:
        if str(BLOB.digest) not in request.path or request.method != "GET":
            return "go on"
        start = int(request.headers.get("range", "bytes=0-")[6:-1]) if ranges else 0
        headers = {"Content-Length": str(len(DATA) - start)}
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"
        count = cuts.pop() if cuts else len(DATA)
        return Reply(206 if start else 200, headers, DATA[start:][:count], cut=count < len(DATA) - start)

    works.before = before
    target = MemoryStore()
    with lying_registry(works) as registry:
        copy(repository_of(registry, settings), target, reference="1", to="1", limits=QUICK)
        asked = [one.headers.get("range") for one in registry.asked("GET", str(BLOB.digest))]
    assert target.blobs[BLOB.digest] == DATA
    assert asked[0] is None
    assert asked[1] == "bytes=1000000-"
    assert len(asked) == 3


def test_a_later_run_asks_only_for_what_is_missing(settings: ClientSettings) -> None:
    works = Registry()
    works.manifests["1"] = MANIFEST.raw
    works.blobs = {str(BLOB.digest): DATA, str(Digest.of(CONFIG)): CONFIG}
    target = MemoryStore()
    with pytest.raises(ConnectionError):
        target.put_blob(BLOB, _Broken(DATA[:1_500_000]))
    held = target.blob_offset(BLOB)
    assert held == 1_500_000
    with lying_registry(works) as registry:
        result = copy(repository_of(registry, settings), target, reference="1", to="1")
        (asked,) = registry.asked("GET", str(BLOB.digest))
    assert asked.headers["range"] == "bytes=1500000-"
    assert result.moved_bytes == len(DATA) - held + len(CONFIG)
    assert target.blobs[BLOB.digest] == DATA


def test_a_damaged_part_of_an_earlier_run_is_thrown_away(settings: ClientSettings) -> None:
    works = Registry()
    works.manifests["1"] = MANIFEST.raw
    works.blobs = {str(BLOB.digest): DATA, str(Digest.of(CONFIG)): CONFIG}
    target = MemoryStore()
    with pytest.raises(ConnectionError):
        target.put_blob(BLOB, _Broken(b"damage" + DATA[6:1_500_000]))
    with lying_registry(works) as registry:
        copy(repository_of(registry, settings), target, reference="1", to="1", limits=QUICK)
    assert target.blobs[BLOB.digest] == DATA


class _Broken(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        if not (data := super().read(size)):
            raise ConnectionError("the line is dead")
        return data


def push(registry: LyingRegistry, settings: ClientSettings, source: MemoryStore) -> None:
    copy(source, repository_of(registry, settings, push=True), reference="1", to="1", limits=QUICK)


def test_an_upload_goes_on_where_the_registry_stands(settings: ClientSettings, source: MemoryStore) -> None:
    works = Registry()

    def before(request: Request) -> Reply | str | None:
        name = request.path.rsplit("/", 1)[-1]
        big = request.method == "PUT" and "/uploads/" in request.path and len(request.body) == len(DATA)
        if not big:
            return "go on"
        works.uploads[name] = DATA[:1_234_567]  # what came before the line broke
        return None

    works.before = before
    with lying_registry(works) as registry:
        push(registry, settings, source)
        last = registry.asked("PUT", "/uploads/")[-1]
    assert works.blobs[str(BLOB.digest)] == DATA
    assert last.headers["content-range"] == f"1234567-{len(DATA) - 1}"
    assert "state=2" in last.target


def test_an_upload_starts_over_when_the_registry_has_lost_it(
    settings: ClientSettings, source: MemoryStore
) -> None:
    works = Registry()

    def lose(request: Request) -> bool:
        return request.method == "PUT" and len(request.body) == len(DATA)

    works.before = once(Reply(404), lose)
    with lying_registry(works) as registry:
        push(registry, settings, source)
        assert len([one for one in registry.asked("PUT") if len(one.body) == len(DATA)]) == 2
    assert works.blobs[str(BLOB.digest)] == DATA


def test_u6_a_put_whose_answer_was_lost_is_not_an_error(settings: ClientSettings) -> None:
    """The registry stored the blob and forgot the upload; the repeated PUT finds nothing to finish."""
    works = Registry()
    small = b"small" * 20_000  # PUT from memory
    described = Descriptor(mediatype.OCI_LAYER, Digest.of(small), len(small))

    def before(request: Request) -> Reply | str | None:
        if request.method == "PUT" and not works.blobs:
            works.blobs[str(described.digest)] = request.body
            works.uploads.clear()
            return None
        return "go on"

    works.before = before
    with lying_registry(works) as registry:
        repository_of(registry, settings, push=True).put_blob(described, io.BytesIO(small))
        assert len(registry.asked("PUT")) == 2
    assert works.blobs == {str(described.digest): small}


def test_u6_a_large_layer_whose_answer_was_lost_is_not_sent_again(
    settings: ClientSettings, source: MemoryStore
) -> None:
    works = Registry()

    def before(request: Request) -> Reply | str | None:
        if request.method == "PUT" and len(request.body) == len(DATA):
            works.blobs[str(BLOB.digest)] = request.body
            works.uploads.clear()
            return None
        return "go on"

    works.before = before
    with lying_registry(works) as registry:
        push(registry, settings, source)
        assert len([one for one in registry.asked("PUT") if len(one.body) == len(DATA)]) == 1


def test_u6_a_conditional_put_whose_answer_was_lost_is_not_an_error(settings: ClientSettings) -> None:
    works = Registry()

    def before(request: Request) -> Reply | str | None:
        if request.method != "PUT":
            return "go on"
        assert request.headers["if-none-match"] == "*"
        if "1" in works.manifests:
            return Reply(412)
        works.manifests["1"] = request.body
        return None

    works.before = before
    with lying_registry(works) as registry:
        repository_of(registry, settings, push=True).create_tag(MANIFEST, "1")


def test_a_tag_that_is_taken_is_not_moved(settings: ClientSettings) -> None:
    works = Registry()
    other = build_manifest(BLOB, []).raw
    works.manifests["1"] = other
    with lying_registry(works) as registry:
        with pytest.raises(TagExists) as caught:
            repository_of(registry, settings, push=True).create_tag(MANIFEST, "1")
        assert registry.asked("PUT") == []
    assert caught.value.digest == Digest.of(other)


def test_one_failing_layer_stops_the_others(settings: ClientSettings, tmp_path: Path) -> None:
    works = Registry()
    works.manifests["1"] = MANIFEST.raw
    works.blobs = {str(Digest.of(CONFIG)): CONFIG}
    target = MemoryStore()
    with lying_registry(works) as registry, pytest.raises(Exception, match=BLOB.digest.short):
        copy(repository_of(registry, settings), target, reference="1", to="1", limits=QUICK)
    assert target.tags == {}
    assert target.manifests == {}


@pytest.mark.parametrize("head", [Reply(405), Reply(200)], ids=["HEAD refused", "HEAD says nothing"])
def test_a_registry_with_a_poor_head_is_asked_by_get(head: Reply, settings: ClientSettings) -> None:
    works = Registry()
    works.manifests["1"] = MANIFEST.raw
    works.before = lambda request: head if request.method == "HEAD" else "go on"
    with lying_registry(works) as registry:
        repository = repository_of(registry, settings)
        assert repository.find_manifest("1") == MANIFEST.descriptor()
        assert repository.find_manifest("2") is None
