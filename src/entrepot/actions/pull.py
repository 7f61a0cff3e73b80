"""`pull`: from a registry into the local store.

1. the manifest the name points to; of an index, the image of the platform wanted
2. its blobs, verified while they arrive, several at once, going on where an earlier run stopped
3. the store lists it under its tag, and by the digest the registry's tag holds
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from entrepot.actions.errors import BadRequest
from entrepot.actions.events import ContentPulled, LayerPlanned, Listener, PullStarted, TagPulled, nobody
from entrepot.actions.places import the_settings, the_store
from entrepot.actions.sources import AsOf
from entrepot.client.mirrors import MirroredRepository
from entrepot.client.registry import open_repository
from entrepot.client.repository import Repository
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import CancelToken, ManifestBytes, Source
from entrepot.images.image import Image
from entrepot.images.sink import StoreSink
from entrepot.images.store import ImageStore
from entrepot.images.times import parse_time, print_time
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference
from entrepot.transfer.copy import carry_out, looked_up
from entrepot.transfer.limits import TransferLimits
from entrepot.transfer.plan import Plan, PlatformChoice
from entrepot.transfer.progress import Event
from entrepot.transfer.reading import read_plan

PARALLEL_LAYERS = 4


class Pulled(msgspec.Struct, frozen=True):
    """One name that is in the store now."""

    reference: Reference
    digest: Digest
    """Of what the registry's tag holds: the index, where there is one."""
    image: Image
    updated: bool
    """The name was new here, or held another image."""
    other_platform: str | None = None
    """The platform of the image, when another one was asked for and the registry has only this."""


def pull(
    name: str,
    *,
    platform: str | None = None,
    all_platforms: bool = False,
    at: datetime | str | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    parallel: int = PARALLEL_LAYERS,
    on_event: Listener = nobody,
    cancel: CancelToken | None = None,
) -> Pulled:
    """Get an image, `latest` when `name` has neither tag nor digest; with both, the digest counts.

    `at` asks for what the tag was at a time (a date or RFC 3339; UTC when it has no zone), which the local
    tag then is. Raises InvalidReference, NotFound, HistoryUnknown (with `at`, where a registry knows only
    now), AccessDenied, NoMatchingPlatform, VerificationFailed, Unavailable.
    Interrupted at any point, the store is as it was; what has arrived is used by the next pull.
    """
    reference = Reference.parse(name).with_default_tag()
    if at is not None and reference.digest is not None:
        raise BadRequest("a digest is the same at any time: ask for a tag with --at")
    moment = None if at is None else print_time(parse_moment(at))
    with _Pull(reference, insecure, store, settings, parallel, on_event, cancel, moment) as work:
        pulled, addition = work.one(reference, _choice(platform, all_platforms))
        work.store.add([addition])
        return work.finished(pulled, platform)


def pull_all_tags(
    name: str,
    *,
    platform: str | None = None,
    all_platforms: bool = False,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    parallel: int = PARALLEL_LAYERS,
    on_event: Listener = nobody,
    cancel: CancelToken | None = None,
) -> list[Pulled]:
    """Get every tag of a repository. Tags that were complete when one fails are kept. Raises BadRequest."""
    repository = Reference.parse(name)
    if repository.tag is not None or repository.digest is not None:
        raise BadRequest("tag can't be used with --all-tags/-a")
    choice = _choice(platform, all_platforms)
    additions, pulled = [], []
    with _Pull(repository, insecure, store, settings, parallel, on_event, cancel) as work:
        try:
            for tag in work.tags():
                one, addition = work.one(repository.with_tag(tag), choice)
                additions.append(addition)
                pulled.append(one)
        finally:
            work.store.add(additions)
        return [work.finished(one, platform) for one in pulled]


def parse_moment(at: datetime | str) -> datetime:
    """A date or an RFC 3339 time; UTC when it has no zone. Raises BadRequest."""
    moment = parse_time(at) if isinstance(at, str) else at
    if moment is None:
        raise BadRequest(
            f"{at!r} is no time",
            hint="write it as 2026-10-01 or 2026-10-01T14:00:00+02:00",
        )
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _choice(platform: str | None, all_platforms: bool) -> PlatformChoice:
    if all_platforms:
        if platform:
            raise BadRequest("conflicting options: cannot specify both --platform and --all-platforms")
        return PlatformChoice.all()
    wanted = platform or os.environ.get("DOCKER_DEFAULT_PLATFORM")
    return PlatformChoice.one(Platform.parse(wanted)) if wanted else PlatformChoice.host()


Addition = tuple[Descriptor, list[Reference]]


class _Fetched(msgspec.Struct, frozen=True):
    reference: Reference
    root: ManifestBytes
    top: Descriptor
    before: Image | None


class _Pull:
    """A repository and the store, held open for one or many tags."""

    def __init__(
        self,
        reference: Reference,
        insecure: bool,
        store: ImageStore | Path | str | None,
        settings: ClientSettings | None,
        parallel: int,
        on_event: Listener,
        cancel: CancelToken | None,
        at: str | None = None,
    ) -> None:
        self.store = the_store(store)
        self._repository: Repository | MirroredRepository = open_repository(
            reference, client=the_settings(settings, insecure=insecure), cancel=cancel
        )
        self._source: Source = self._repository if at is None else AsOf(self._repository, at)
        self._sink = StoreSink(self.store, reference, listed=False)
        self._limits = TransferLimits(parallel=parallel)
        self._on_event = on_event
        self._cancel = cancel
        self._brought: set[Digest] = set()

    def __enter__(self) -> _Pull:
        return self

    def __exit__(self, *exception: object) -> None:
        with closing(self._repository):
            self._sink.close()

    def tags(self) -> Iterator[str]:
        return self._repository.list_tags()

    def one(self, reference: Reference, choice: PlatformChoice) -> tuple[_Fetched, Addition]:
        """Bring one name's content here. It is not listed yet."""
        if reference.digest is not None:
            reference = reference.with_tag(None)
        before = self.store.find(reference)
        root = self._source.get_manifest(reference.digest or reference.tag or "latest")
        by_digest = reference.with_tag(None).with_digest(root.digest)
        label = reference.tag or str(by_digest)
        self._on_event(PullStarted(label, reference.repository))
        plan = looked_up(read_plan(self._source, root, platforms=choice, limits=self._limits), self._sink)
        held = self._announce(plan)
        carry_out(
            plan,
            self._source,
            self._sink,
            to=None,
            limits=self._limits,
            events=(lambda _: None) if held else self._forward,
            cancel=self._cancel,
        )
        self._on_event(ContentPulled(reference, root.digest))
        names = [by_digest] if reference.tag is None else [reference, by_digest]
        top = plan.top.descriptor()
        return _Fetched(reference, root, top, before), (top, names)

    def finished(self, fetched: _Fetched, platform: str | None) -> Pulled:
        """What the listed name shows. Emits TagPulled."""
        image = self.store.find(fetched.reference)
        if image is None:
            raise BadRequest(f"{fetched.reference.familiar()} was removed while it was pulled")
        updated = fetched.before is None or fetched.before.id != image.id
        self._on_event(TagPulled(fetched.reference, fetched.root.digest, updated))
        other = None
        if platform and image.platform and image.platform.normalized() != Platform.parse(platform):
            other = str(image.platform)
        return Pulled(fetched.reference, fetched.root.digest, image, updated, other)

    def _announce(self, plan: Plan) -> bool:
        """Say which layers there are; whether the image is here already, as docker sees it."""
        images = [node.parsed for node in plan.manifests if isinstance(node.parsed, ImageManifest)]
        if all(self._is_here(image.config.digest) for image in images):
            return True
        is_there = {blob.descriptor.digest: bool(blob.is_there) for blob in plan.blobs}
        layers = {layer.digest: layer for image in images for layer in image.layers}
        for layer in layers.values():
            self._on_event(LayerPlanned(layer, is_there.get(layer.digest, False)))
        return False

    def _is_here(self, image_id: Digest) -> bool:
        """Listed, or brought by an earlier tag of this run."""
        if image_id in self._brought or self.store.find_id(image_id) is not None:
            return True
        self._brought.add(image_id)
        return False

    def _forward(self, event: Event) -> None:
        self._on_event(event)
