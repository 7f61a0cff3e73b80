"""`rmi` and `image prune`: untag, or remove; docker's rules for which of the two.

A name is removed first; the image goes when that was its last one. An ID removes an image only when its
names are all of one repository. Nothing goes that a container or a committed image builds on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from entrepot.actions.filters import parse_filters
from entrepot.actions.places import the_store
from entrepot.actions.uses import ContainerUse, collect_snapshots, containers_by_image
from entrepot.images.errors import ImageInUse
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import chain_ids
from entrepot.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class Removed:
    """One thing that happened: a name taken away, or content deleted."""

    untagged: str | None = None
    """A familiar reference."""
    deleted: Digest | None = None
    """An image ID, or the chain ID of a layer no image has any more."""


FindUses = Callable[[Image], Sequence[ContainerUse]]


@dataclass(frozen=True, slots=True)
class Pruned:
    removed: tuple[Removed, ...]
    freed_bytes: int


def remove_image(
    name: str,
    *,
    force: bool = False,
    prune: bool = True,
    store: ImageStore | Path | str | None = None,
    uses: FindUses | None = None,
) -> list[Removed]:
    """Remove a name, or an image by ID. `prune` removes untagged parents too.

    Raises NoSuchImage; ImageInUse when a container, a child image or names in several repositories need it.
    """
    place = the_store(store)
    removal = _Removal(place, uses or container_uses(place))
    removal.remove(name, force=force, prune=prune)
    return removal.finish()


def prune_images(
    *,
    all_images: bool = False,
    filters: Sequence[str] = (),
    store: ImageStore | Path | str | None = None,
    uses: FindUses | None = None,
) -> Pruned:
    """Remove images without a tag (with `all_images`: every one no container uses), and stopped downloads.

    `filters` are `until=` and `label=`.
    """
    place = the_store(store)
    chosen = parse_filters(filters, place, allowed=frozenset({"until", "label", "label!", "dangling"}))
    if chosen.dangling is False:
        all_images = True
    find = uses or container_uses(place)
    removal = _Removal(place, find)
    images = place.list()
    parents = {image.parent for image in images}
    for image in images:
        unwanted = all_images or image.is_dangling
        if not unwanted or image.id in parents or find(image):
            continue
        if all(test(image) for test in chosen.tests):
            removal.remove_all_of(image)
    records = removal.finish(collect=True)  # also what killed pulls left
    return Pruned(tuple(records), removal.freed_bytes + place.give_up_partials())


def container_uses(store: ImageStore) -> FindUses:
    """Which containers of this store use an image."""
    by_image = containers_by_image(store)
    return lambda image: by_image.get(image.id, ())


class _Removal:
    """One command's removals. Content is collected once, at the end."""

    def __init__(self, store: ImageStore, uses: FindUses) -> None:
        self._store = store
        self._uses = uses
        self._records: list[Removed] = []
        self._deleted: list[Image] = []
        self.freed_bytes = 0

    def finish(self, *, collect: bool = False) -> list[Removed]:
        """Collect when an image went (or `collect`), and tell what happened in docker's order."""
        if self._deleted or collect:
            self.freed_bytes = self._store.collect().bytes
            collect_snapshots(self._store)
        return self._records

    def remove(self, name: str, *, force: bool, prune: bool) -> None:
        image = self._store.resolve(name)
        reference = _named_reference(name, image)
        if reference is None:
            self._remove_by_id(image, force=force)
        elif not self._remove_by_name(image, reference, force=force):
            return
        self._delete(image.id, force=force, prune=prune, named=reference is not None)

    def remove_all_of(self, image: Image) -> None:
        """Every name, then the image."""
        self._untag((*image.tags, *image.repo_digests))
        self._delete(image.id, force=False, prune=True, named=True)

    def _remove_by_name(self, image: Image, reference: Reference, *, force: bool) -> bool:
        """Whether that was the last name."""
        users = self._uses(image)
        if users and not force and _in_one_repository(image):
            raise ImageInUse(
                f'conflict: unable to remove repository reference "{reference.familiar()}" (must force) - '
                f"container {users[0].container[:12]} is using its referenced image {image.id.short}"
            )
        gone = [reference]
        others_of_repository = [tag for tag in image.tags if tag != reference and tag.name == reference.name]
        if reference.digest is None and not others_of_repository:
            gone += [digest for digest in image.repo_digests if digest.name == reference.name]
        self._untag(gone)
        return not {*image.tags, *image.repo_digests} - set(gone)

    def _remove_by_id(self, image: Image, *, force: bool) -> None:
        if not _in_one_repository(image) and not force:
            self._check(image, force=force, ignore_names=False)
        self._check(image, force=force, ignore_names=True)
        self._untag((*image.tags, *image.repo_digests))

    def _delete(self, image_id: Digest, *, force: bool, prune: bool, named: bool) -> None:
        image = self._store.find_id(image_id)
        if image is None:
            return
        if image.tags or image.repo_digests:
            return  # named anew by another process meanwhile
        try:
            self._check(image, force=force, ignore_names=True)
        except ImageInUse:
            if named:
                return  # untagging was asked for and done
            raise
        before = {one.id: one for one in self._store.list()}
        self._store.remove_image(image)
        self._deleted.append(image)
        self._records.append(Removed(deleted=image.id))
        before.pop(image.id, None)
        self._records += [Removed(deleted=chain) for chain in _freed_chains(image, before.values())]
        if prune and image.parent is not None:
            self._prune_parent(image.parent)

    def _prune_parent(self, parent: Digest) -> None:
        image = self._store.find_id(parent)
        if image is not None and not image.tags and not image.repo_digests and not self._uses(image):
            children = [one for one in self._store.list() if one.parent == parent]
            if not children:
                self._delete(parent, force=False, prune=True, named=True)

    def _untag(self, references: Sequence[Reference]) -> None:
        if references:
            self._store.remove_names(references)
        self._records += [Removed(untagged=reference.familiar()) for reference in references]

    def _check(self, image: Image, *, force: bool, ignore_names: bool) -> None:
        if any(one.parent == image.id for one in self._store.list()):
            raise _conflict(image, "cannot be forced", "image has dependent child images")
        users = self._uses(image)
        for user in users:
            if user.running:
                reason = f"image is being used by running container {user.container[:12]}"
                raise _conflict(image, "cannot be forced", reason)
        if force:
            return
        if not ignore_names and (image.tags or image.repo_digests):
            raise _conflict(image, "must be forced", "image is referenced in multiple repositories")
        if users:
            reason = f"image is being used by stopped container {users[0].container[:12]}"
            raise _conflict(image, "must be forced", reason)


def _named_reference(name: str, image: Image) -> Reference | None:
    """The reference `name` means, or None when it is an ID."""
    from entrepot.oci.reference import parse_any_reference

    reference = parse_any_reference(name)
    if not isinstance(reference, Reference):
        return None
    reference = reference.with_default_tag()
    if reference.digest is not None:
        reference = reference.with_tag(None)
    return reference if reference in (*image.tags, *image.repo_digests) else None


def _in_one_repository(image: Image) -> bool:
    """At most one tag, and nothing in other repositories."""
    names = {reference.name for reference in (*image.tags, *image.repo_digests)}
    return len(image.tags) <= 1 and len(names) <= 1


def _conflict(image: Image, how: str, reason: str) -> ImageInUse:
    return ImageInUse(f"conflict: unable to delete {image.id.short} ({how}) - {reason}")


def _freed_chains(image: Image, others: Iterable[Image]) -> list[Digest]:
    """Chain IDs only this image had, the top one first."""
    kept = {chain for other in others for chain in chain_ids(other.diff_ids)}
    return [chain for chain in reversed(chain_ids(image.diff_ids)) if chain not in kept]
