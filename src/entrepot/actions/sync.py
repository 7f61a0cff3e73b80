"""`sync`: many images, only what changed.

A source is a repository, all of whose tags are meant, one image, or (with a `/` at its end) every
repository of a registry below that prefix. What the destination's tag holds already is skipped after one
small request.
"""

from __future__ import annotations

import fnmatch
import shlex
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from entrepot.actions.copy import copy_between, held_at, platform_choice
from entrepot.actions.endpoints import (
    Endpoint,
    Ends,
    InvalidEndpoint,
    manifest_or_none,
    names_in,
    open_origin,
    parse_endpoint,
)
from entrepot.actions.events import nobody
from entrepot.actions.listing import repositories_of
from entrepot.actions.places import the_settings, the_store
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import CancelToken
from entrepot.errors import Cancelled, EntrepotError, InvalidInput
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from entrepot.transfer.plan import PlatformChoice

JOBS = 4
BLOBS_PER_JOB = 3
SIGNATURE_TAG = "sha256-*"
"""Tags that belong to another image; they travel with it (`referrers`), not by themselves."""


class InvalidList(InvalidInput):
    """A line of a list of what to sync cannot be read."""

    code: ClassVar[str] = "invalid-sync-list"


@dataclass(frozen=True, slots=True)
class Pair:
    """One line of a list: from where, to where, which tags."""

    source: str
    destination: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Synced:
    """What happened to one image."""

    source: str
    destination: str
    digest: Digest | None
    changed: bool
    moved_bytes: int = 0
    referrers: int = 0
    error: str | None = None


def sync(
    source: str,
    destination: str,
    *,
    tags: Sequence[str] = (),
    exclude: Sequence[str] = (),
    platforms: Sequence[str] = (),
    referrers: bool = False,
    dry_run: bool = False,
    keep_going: bool = False,
    jobs: int = JOBS,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    on_result: Callable[[Synced], None] = lambda _: None,
    cancel: CancelToken | None = None,
) -> list[Synced]:
    """Bring `destination` to what `source` holds. `tags` and `exclude` are shell patterns.

    Nothing is ever deleted. Without `keep_going` the first failure ends it (what was done stays done);
    with it, failures are in the results.
    """
    return sync_list(
        [Pair(source, destination, tuple(tags))],
        exclude=exclude,
        platforms=platforms,
        referrers=referrers,
        dry_run=dry_run,
        keep_going=keep_going,
        jobs=jobs,
        insecure=insecure,
        store=store,
        settings=settings,
        on_result=on_result,
        cancel=cancel,
    )


def sync_list(
    pairs: Iterable[Pair],
    *,
    exclude: Sequence[str] = (),
    platforms: Sequence[str] = (),
    referrers: bool = False,
    dry_run: bool = False,
    keep_going: bool = False,
    jobs: int = JOBS,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    on_result: Callable[[Synced], None] = lambda _: None,
    cancel: CancelToken | None = None,
) -> list[Synced]:
    """The same for many pairs, several images at once. Results come in the order of completion."""
    token = cancel or CancelToken()
    with Ends(the_store(store), the_settings(settings, insecure=insecure), token) as ends:
        work = _Sync(ends, platform_choice(platforms), referrers, dry_run, keep_going, on_result)
        work.run(pairs, exclude, jobs)
    return work.results


def read_list(text: str) -> list[Pair]:
    """Lines `SOURCE DESTINATION [TAG-PATTERN …]`, with `#` for remarks. Raises InvalidList."""
    pairs = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise InvalidList(f"line {number} cannot be read: {error}") from error
        if not words:
            continue
        if len(words) < 2:
            raise InvalidList(f"line {number}: a source and a destination are needed, got {line.strip()!r}")
        pairs.append(Pair(words[0], words[1], tuple(words[2:])))
    return pairs


class _Sync:
    """Workers over a stream of pairs."""

    def __init__(
        self,
        ends: Ends,
        choice: PlatformChoice,
        referrers: bool,
        dry_run: bool,
        keep_going: bool,
        on_result: Callable[[Synced], None],
    ) -> None:
        self._ends = ends
        self._choice = choice
        self._referrers = referrers
        self._dry_run = dry_run
        self._keep_going = keep_going
        self._on_result = on_result
        self._mutex = threading.Lock()
        self.results: list[Synced] = []

    def run(self, pairs: Iterable[Pair], exclude: Sequence[str], jobs: int) -> None:
        """Raises the first failure unless it keeps going."""
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(max(1, jobs), thread_name_prefix="entrepot-sync"))
            stack.callback(pool.shutdown, cancel_futures=True)
            try:
                futures = [
                    pool.submit(self._one, source, goal)
                    for pair in pairs
                    for source, goal in self._listed(pair, exclude)
                ]
                for future in futures:
                    future.result()
            except BaseException:
                if self._ends.cancel is not None:
                    self._ends.cancel.cancel()
                raise

    def _listed(self, pair: Pair, exclude: Sequence[str]) -> Iterator[tuple[Endpoint, Endpoint]]:
        """The images a pair stands for; a place that cannot be listed is a failure like any other."""
        try:
            yield from _single_images(pair, exclude, self._ends)
        except Cancelled:
            raise
        except EntrepotError as error:
            if not self._keep_going:
                raise
            self._add(Synced(pair.source, pair.destination, None, changed=False, error=error.message))

    def _add(self, result: Synced) -> None:
        with self._mutex:
            self.results.append(result)
            self._on_result(result)

    def _one(self, source: Endpoint, destination: Endpoint) -> None:
        if self._ends.cancel is not None:
            self._ends.cancel.check()
        try:
            result = self._copied(source, destination)
        except Cancelled:
            raise
        except EntrepotError as error:
            if not self._keep_going:
                raise
            result = Synced(str(source), str(destination), None, changed=False, error=error.message)
        self._add(result)

    def _copied(self, source: Endpoint, destination: Endpoint) -> Synced:
        if self._choice.is_all and not self._referrers and (held := self._unchanged(source, destination)):
            return Synced(str(source), str(destination), held, changed=False)
        done = copy_between(
            source, destination, self._ends, choice=self._choice, referrers=self._referrers,
            dry_run=self._dry_run, parallel=BLOBS_PER_JOB, on_event=nobody,
        )  # fmt: skip
        return Synced(
            done.source, done.destination, done.digest, done.changed, done.moved_bytes, done.referrers
        )

    def _unchanged(self, source: Endpoint, destination: Endpoint) -> Digest | None:
        """What both ends hold, told by two requests without content."""
        if source.kind != "docker" or destination.kind != "docker":
            return None
        with open_origin(source, self._ends) as origin:
            there = manifest_or_none(origin.source, origin.reference)
            here = held_at(destination, self._ends, origin)
        return (
            there.digest if there is not None and here is not None and there.digest == here.digest else None
        )


def _single_images(pair: Pair, exclude: Sequence[str], ends: Ends) -> Iterator[tuple[Endpoint, Endpoint]]:
    for source, destination in _repositories(pair, ends):
        yield from _tags(source, destination, pair.tags, exclude, ends)


def _repositories(pair: Pair, ends: Ends) -> Iterator[tuple[Endpoint, Endpoint]]:
    """One repository, or all below a prefix."""
    if not pair.source.endswith("/"):
        yield parse_endpoint(pair.source), parse_endpoint(pair.destination)
        return
    if not pair.destination.endswith("/"):
        raise InvalidEndpoint(f"{pair.destination}: a prefix, ending in /, is needed for many repositories")
    host, _, prefix = pair.source.removeprefix("docker://").partition("/")
    for name in repositories_of(host, ends.settings):
        if name.startswith(prefix):
            source = parse_endpoint(f"docker://{host}/{name}")
            yield source, parse_endpoint(pair.destination + name[len(prefix) :])


def _tags(
    source: Endpoint, destination: Endpoint, patterns: Sequence[str], exclude: Sequence[str], ends: Ends
) -> Iterator[tuple[Endpoint, Endpoint]]:
    reference = source.reference
    single = bool(source.name) if source.path else bool(reference and (reference.tag or reference.digest))
    if single or (source.path is None and reference is None):
        yield source, destination
        return
    for tag in names_in(source, ends):
        wanted = not patterns or any(fnmatch.fnmatchcase(tag, pattern) for pattern in patterns)
        unwanted = any(fnmatch.fnmatchcase(tag, pattern) for pattern in (*exclude, SIGNATURE_TAG))
        if wanted and not unwanted:
            yield _tagged_source(source, tag), destination.with_tag(_tag_part(tag))


def _tagged_source(source: Endpoint, name: str) -> Endpoint:
    if source.path is not None:
        return replace(source, name=name)
    return source.with_tag(name)


def _tag_part(name: str) -> str:
    """The tag of a name in an archive, which may be a name in full."""
    return name.rpartition(":")[2] if ":" in name else name
