"""A repository with mirrors: each is asked in turn, the registry itself last."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from entrepot.client.repository import Repository
from entrepot.content.protocols import BlobStream, ManifestBytes
from entrepot.errors import Cancelled, EntrepotError
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest

log = logging.getLogger(__name__)
T = TypeVar("T")


class MirroredRepository:
    """Source, TagStore to read and ReferrerSource over several places. Thread safe.

    A place that could not be reached is not asked again. What the last one says is what the caller hears.
    """

    def __init__(self, opened: tuple[Callable[[], Repository], ...]) -> None:
        """`opened` makes contact; called once a place, when it is needed."""
        self._openers = list(opened)
        self._lock = threading.Lock()
        self._repositories: dict[int, Repository] = {}
        self._dead: set[int] = set()

    @property
    def name(self) -> str:
        return self._repository(len(self._openers) - 1).name

    def get_manifest(self, reference: str | Digest, /) -> ManifestBytes:
        return self._first(lambda repository: repository.get_manifest(reference))

    def get_manifest_at(self, reference: str | Digest, at: str) -> ManifestBytes:
        """Mirrors know what a tag is, not what it was: the registry itself is asked."""
        return self._last().get_manifest_at(reference, at)

    def find_manifest(self, reference: str | Digest) -> Descriptor | None:
        return self._first(
            lambda repository: repository.find_manifest(reference), accept=lambda found: found is not None
        )

    def open_blob(self, descriptor: Descriptor, *, offset: int = 0) -> BlobStream:
        return self._first(lambda repository: repository.open_blob(descriptor, offset=offset))

    def list_tags(self) -> Iterator[str]:
        return self._last().list_tags()

    def delete_tag(self, tag: str) -> None:
        self._last().delete_tag(tag)

    def delete_manifest(self, digest: Digest) -> None:
        self._last().delete_manifest(digest)

    def list_referrers(self, digest: Digest, artifact_type: str | None = None) -> list[Descriptor]:
        return self._first(lambda repository: repository.list_referrers(digest, artifact_type))

    def close(self) -> None:
        for repository in self._repositories.values():
            repository.close()

    def _last(self) -> Repository:
        return self._repository(len(self._openers) - 1)

    def _first(self, ask: Callable[[Repository], T], accept: Callable[[T], bool] = lambda _: True) -> T:
        last = len(self._openers) - 1
        for index in range(last):
            if index in self._dead:
                continue
            try:
                repository = self._repository(index)
            except Cancelled:
                raise
            except EntrepotError as error:
                log.info("mirror-skipped index=%d reason=%s", index, error)
                self._dead.add(index)
                continue
            try:
                found = ask(repository)
            except Cancelled:
                raise
            except EntrepotError as error:
                log.info("mirror-passed-over name=%s reason=%s", repository.origin, error)
                continue
            if accept(found):
                return found
        return ask(self._last())

    def _repository(self, index: int) -> Repository:
        with self._lock:
            found = self._repositories.get(index)
            if found is None:
                found = self._repositories[index] = self._openers[index]()
            return found
