"""The places for content the contract suite runs over. A new one adds a line to `PLACES`."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from entrepot.content.memory import MemoryStore
from entrepot.content.protocols import ReferrerSource, Sink, Source, TagStore
from entrepot.images.sink import StoreSink
from entrepot.images.source import StoreSource
from entrepot.images.store import ImageStore
from entrepot.layout.directory import ImageLayout
from entrepot.oci.reference import Reference
from tests.contract.content.registries import docker_registry, registry


@dataclass(frozen=True)
class Place:
    """An empty place. What it can't do is None or False, and its tests are skipped."""

    source: Source
    sink: Sink
    tags: TagStore | None = None
    referrers: ReferrerSource | None = None
    resumes: bool = True  # keeps what an interrupted put left, for `blob_offset`
    checks_graph: bool = True  # refuses a manifest whose content is missing
    keeps_untagged: bool = True  # a manifest may be stored by digest alone


PlaceFactory = Callable[[Path], AbstractContextManager[Place]]


@contextmanager
def memory(tmp_path: Path) -> Iterator[Place]:
    store = MemoryStore()
    yield Place(store, store, store, store)


@contextmanager
def store(tmp_path: Path) -> Iterator[Place]:
    reference = Reference.parse("team/app")
    images = ImageStore(tmp_path / "store")
    source = StoreSource(images, reference)
    with StoreSink(images, reference) as sink:
        yield Place(source, sink, source)


@contextmanager
def layout(tmp_path: Path) -> Iterator[Place]:
    place = ImageLayout(tmp_path / "layout", create=True)
    yield Place(place, place, place, place)


PLACES: dict[str, PlaceFactory] = {
    "store": store,
    "memory": memory,
    "layout": layout,
    "registry": registry,
    "docker-registry": docker_registry,
}
