"""`push`: from the local store to a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import msgspec

from entrepot.actions.compress import with_compressed_layers
from entrepot.actions.errors import BadRequest
from entrepot.actions.events import LayersNamed, Listener, PushStarted, TagPushed, nobody
from entrepot.actions.places import the_settings, the_store
from entrepot.client.hosts import locate
from entrepot.client.registry import open_repository
from entrepot.client.repository import Repository
from entrepot.client.settings import ClientSettings
from entrepot.content.protocols import CancelToken
from entrepot.errors import NotFound
from entrepot.images.errors import PlatformMismatch
from entrepot.images.image import Image
from entrepot.images.source import StoreSource
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.manifest import ImageManifest, Index
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference
from entrepot.transfer.copy import copy
from entrepot.transfer.errors import NoMatchingPlatform
from entrepot.transfer.limits import TransferLimits
from entrepot.transfer.plan import PlatformChoice
from entrepot.transfer.progress import Event

PARALLEL_LAYERS = 5


class NothingToPush(NotFound):
    """No image here has the name. docker says it without a prefix."""

    code = "nothing-to-push"
    bare = True


class Pushed(msgspec.Struct, frozen=True):
    """One tag the registry holds now."""

    reference: Reference
    digest: Digest
    size: int
    """Bytes of the manifest."""
    existed: bool
    """With `if_absent`: the tag held it before."""


def push(
    name: str,
    *,
    all_tags: bool = False,
    platform: str | None = None,
    if_absent: bool = False,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    parallel: int = PARALLEL_LAYERS,
    on_event: Listener = nobody,
    cancel: CancelToken | None = None,
) -> list[Pushed]:
    """Send what a tag points to: an image, or an index of several platforms unless `platform` picks one.

    What came from a registry goes out byte for byte. Of an image that was never in one, plain layers are
    compressed first, once.
    With `if_absent` a tag is only created, never moved. With `all_tags`, every tag of the repository.
    Raises NothingToPush, PlatformMismatch, TagExists, AccessDenied, Unavailable.
    """
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise BadRequest("cannot push a digest reference")
    if all_tags and reference.tag is not None:
        raise BadRequest("tag can't be used with --all-tags/-a")
    place = the_store(store)
    client = the_settings(settings, insecure=insecure)
    if platform:
        _require_platform(place, reference.with_default_tag(), platform)
    on_event(PushStarted(reference))
    references = _references(place, reference, all_tags=all_tags)
    with closing(open_repository(reference, client=client, push=True, cancel=cancel)) as repository:
        if not isinstance(repository, Repository):  # pragma: no cover - a push has no mirrors
            raise TypeError("a push goes to the registry itself")
        work = _Push(place, client, repository, parallel, on_event, cancel)
        return [work.one(one, platform=platform, if_absent=if_absent) for one in references]


def _references(store: ImageStore, reference: Reference, *, all_tags: bool) -> list[Reference]:
    tags = list(store.tags_of(reference))
    if not tags:
        raise NothingToPush(f"An image does not exist locally with the tag: {reference.familiar_name}")
    if all_tags:
        return tags
    wanted = reference.with_default_tag()
    if wanted not in tags:
        raise NothingToPush(f"tag does not exist: {wanted.familiar()}")
    return [wanted]


def _require_platform(store: ImageStore, reference: Reference, platform: str) -> None:
    """Raises PlatformMismatch when a single image is for another platform."""
    image = store.find(reference)
    wanted = Platform.parse(platform)
    if image is None or image.target.digest != image.manifest.digest:
        return
    if image.platform is None or image.platform.normalized() != wanted:
        raise PlatformMismatch(reference.familiar(), str(image.platform), platform)


class _Push:
    """One repository of a registry, for one or many tags."""

    def __init__(
        self,
        store: ImageStore,
        client: ClientSettings,
        repository: Repository,
        parallel: int,
        on_event: Listener,
        cancel: CancelToken | None,
    ) -> None:
        self._store = store
        self._client = client
        self._repository = repository
        self._limits = TransferLimits(parallel=parallel)
        self._on_event = on_event
        self._cancel = cancel
        self._images = store.list()

    def one(self, reference: Reference, *, platform: str | None, if_absent: bool) -> Pushed:
        image = self._store.find(reference)
        if image is None or reference.tag is None:
            raise NothingToPush(f"tag does not exist: {reference.familiar()}")
        image = with_compressed_layers(self._store, image, on_event=self._on_event, cancel=self._cancel)
        if if_absent and self._is_there(reference.tag, image, platform):
            pushed = Pushed(reference, image.target.digest, image.target.size, existed=True)
        else:
            pushed = self._send(reference, image, platform, if_absent=if_absent)
        self._on_event(TagPushed(reference, pushed.digest, pushed.size, pushed.existed))
        return pushed

    def _is_there(self, tag: str, image: Image, platform: str | None) -> bool:
        if platform is not None:
            return False
        held = self._repository.find_manifest(tag)
        return held is not None and held.digest == image.target.digest

    def _send(self, reference: Reference, image: Image, platform: str | None, *, if_absent: bool) -> Pushed:
        self._on_event(LayersNamed(self._diff_ids(image)))
        choice = PlatformChoice.one(Platform.parse(platform)) if platform else PlatformChoice.all()
        try:
            result = copy(
                StoreSource(self._store, reference),
                self._repository,
                reference=reference.tag or "latest",
                to=reference.tag,
                platforms=choice,
                limits=self._limits,
                events=self._forward,
                cancel=self._cancel,
                mount_from=_mount_sources(self._images, self._client, reference),
                if_absent=if_absent,
            )
        except NoMatchingPlatform as error:
            raise NothingToPush(
                f"image with reference {reference.familiar()} was found but does not provide "
                f"the specified platform ({platform})",
                hint=error.hint,
            ) from error
        if result.top.digest == image.target.digest:
            self._store.add([(image.target, [reference.with_tag(None).with_digest(result.top.digest)])])
        return Pushed(reference, result.top.digest, len(result.top.raw), existed=False)

    def _forward(self, event: Event) -> None:
        self._on_event(event)

    def _diff_ids(self, image: Image) -> dict[Digest, Digest]:
        named: dict[Digest, Digest] = {}
        for manifest in self._image_manifests(image.target, set()):
            document = self._store.image_config(manifest)
            if document is not None and len(document.diff_ids) == len(manifest.layers):
                digests = (layer.digest for layer in manifest.layers)
                named.update(zip(digests, document.diff_ids, strict=True))
        return named

    def _image_manifests(self, target: Descriptor, done: set[Digest]) -> Iterable[ImageManifest]:
        if target.digest in done:
            return
        done.add(target.digest)
        try:
            parsed = self._store.get_manifest(target.digest, target.media_type).parse()
        except NotFound:
            return
        if isinstance(parsed, Index):
            for child in parsed.manifests:
                yield from self._image_manifests(child, done)
        else:
            yield parsed


def _mount_sources(
    images: Iterable[Image], client: ClientSettings, reference: Reference
) -> Callable[[Descriptor], list[str]]:
    """Repositories on the goal's registry that images here were pulled from or pushed to."""
    goal = locate(reference.registry, reference.repository, client, push=True)[-1]
    by_layer: dict[Digest, list[str]] = {}
    for image in images:
        for known in image.repo_digests:
            if known.name == reference.name:
                continue
            place = locate(known.registry, known.repository, client, push=True)[-1]
            if place.endpoint.host == goal.endpoint.host:
                for digest in image.blobs:
                    by_layer.setdefault(digest, []).append(place.repository)
    return lambda descriptor: by_layer.get(descriptor.digest, [])
