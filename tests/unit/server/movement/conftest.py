"""A registry in this process, with a scripted one behind a proxy project of it."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from entrepot.server.access.decision.actor import SYSTEM
from entrepot.server.compose import build, prepare_now
from entrepot.server.config.model import Config, LogSection, PullThroughSection, Seconds, ServerSection
from entrepot.server.control.pull_through import add_upstream
from entrepot.server.control.services import Services
from entrepot.server.http.request import HttpRequest
from entrepot.server.http.response import Response
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.dispatch import V2Application
from tests.support import lying_registry
from tests.support.lying_registry import LyingRegistry, Reply

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
PATIENT = PullThroughSection(negative=Seconds(0), patience=Seconds(120))
"""On a machine with much else to do an answer takes its time."""
EACH_TIME = replace(PATIENT, fresh=Seconds(0), stale=Seconds(0))
"""A tag is compared at each pull."""

Answer = Callable[[lying_registry.Request], Reply | None]


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Origin:
    """What the other registry has, and how it answers."""

    manifests: dict[str, tuple[bytes, str]] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    instead: dict[str, Answer] = field(default_factory=dict)
    """By a part of the path: how such requests are answered, whatever there is."""
    headers: dict[str, str] = field(default_factory=dict)
    registry: LyingRegistry | None = None

    def answer(self, request: lying_registry.Request) -> Reply | None:
        path = request.path
        for part, other in self.instead.items():
            if part in path:
                return other(request)
        if path == "/v2/":
            return Reply(200, self.headers)
        kind, _, reference = path.rpartition("/")
        if kind.endswith("/manifests") and reference in self.manifests:
            raw, media_type = self.manifests[reference]
            about = {"Content-Type": media_type, "Docker-Content-Digest": digest_of(raw), **self.headers}
            return Reply(200, {**about, "Content-Length": str(len(raw))}, raw)
        if kind.endswith("/blobs") and reference in self.blobs:
            return part_of(self.blobs[reference], request)
        return Reply(404, {}, b"{}")

    def manifest(self, raw: bytes, media_type: str, *tags: str) -> str:
        for name in (digest_of(raw), *tags):
            self.manifests[name] = (raw, media_type)
        return digest_of(raw)

    def blob(self, data: bytes) -> str:
        self.blobs[digest_of(data)] = data
        return digest_of(data)

    def image(self, layer: bytes, *tags: str) -> str:
        """An image of one layer; its manifest's digest."""
        config = b'{"architecture":"amd64","os":"linux"}'
        fields = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {"mediaType": CONFIG, "digest": self.blob(config), "size": len(config)},
            "layers": [{"mediaType": LAYER, "digest": self.blob(layer), "size": len(layer)}],
        }
        return self.manifest(json.dumps(fields, indent=3).encode(), MANIFEST, *tags)

    def asked(self, method: str, part: str = "") -> int:
        assert self.registry is not None
        return len(self.registry.asked(method, part))


def part_of(data: bytes, request: lying_registry.Request) -> Reply:
    """As Range says."""
    start = int(request.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")[0])
    if not start:
        return Reply(200, {}, data)
    return Reply(206, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}, data[start:])


def pieces(*given: bytes | Callable[[], object]) -> Iterator[bytes]:
    """Bytes in turn; what is a function is called between them."""
    for one in given:
        if isinstance(one, bytes):
            yield one
        else:
            one()


def sent(data: Iterable[bytes], size: int) -> Reply:
    """A body that comes in pieces, announced with its size."""
    return Reply(200, {"Content-Length": str(size)}, data)


@dataclass
class Process:
    """One process of our registry."""

    services: Services
    app: V2Application

    async def ask(self, method: str, path: str, query: str = "", **headers: str) -> Response:
        raw = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
        request = HttpRequest(
            method, path, headers=raw, receive=_nothing, query_string=query.encode(), host="localhost"
        )
        return await self.app.respond(request)

    async def get(self, path: str, query: str = "", **headers: str) -> tuple[int, bytes]:
        """GET to its end."""
        response = await self.ask("GET", path, query, **headers)
        return response.status, await whole(response)


async def whole(response: Response) -> bytes:
    if response.stream is None:
        return response.body
    return b"".join([piece async for piece in response.stream])


async def _nothing() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


@dataclass
class Town:
    """Our registry and the one behind its project `hub`."""

    folder: Path
    origin: Origin
    stack: AsyncExitStack
    settings: Config

    @property
    def upstream(self) -> LyingRegistry:
        assert self.origin.registry is not None
        return self.origin.registry

    async def process(self, settings: PullThroughSection | None = None, **more: Any) -> Process:
        """A process; the first one makes the project `hub`, with what `add_upstream` takes."""
        config = replace(self.settings, pull_through=settings or PATIENT)
        services = await build(config, "open")
        self.stack.push_async_callback(services.close)
        if not await services.pull_through.directory.is_local("hub"):
            given = {"name": "hub", "url": self.upstream.url, "inside": True, **more}
            await add_upstream(services, SYSTEM, **given)
        return Process(services, V2Application(V2Context.of(services)))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder as the first start leaves it; making one takes longer than most tests."""
    data = tmp_path_factory.mktemp("prepared") / "data"
    prepare_now(Config(server=ServerSection(data=data), log=LogSection(access="off")))
    return data


@asynccontextmanager
async def open_town(folder: Path, prepared: Path) -> AsyncIterator[Town]:
    shutil.copytree(prepared, folder / "data")
    origin = Origin()
    with lying_registry.lying_registry(origin.answer) as registry:
        origin.registry = registry
        async with AsyncExitStack() as stack:
            config = Config(server=ServerSection(data=folder / "data"), log=LogSection(access="off"))
            yield Town(folder, origin, stack, config)


@pytest.fixture
async def town(tmp_path: Path, prepared: Path) -> AsyncIterator[Town]:
    async with open_town(tmp_path, prepared) as made:
        yield made


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@contextlib.contextmanager
def kept_nothing(process: Process) -> Iterator[None]:
    """Afterwards the data folder has no more files of blobs and uploads than before."""
    data = process.services.config.server.data

    def files() -> set[str]:
        return {
            str(path) for part in ("blobs", "uploads") for path in (data / part).rglob("*") if path.is_file()
        }

    before = files()
    yield
    assert files() == before
