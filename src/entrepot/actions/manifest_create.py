"""`manifest create`: an index over images of several platforms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from entrepot.actions.endpoints import Ends
from entrepot.actions.manifest_lists import ManifestList, ManifestListExists, ManifestLists, full_name, gather
from entrepot.actions.manifest_push import PushedManifest, push_list
from entrepot.actions.places import the_settings, the_store
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore


def create_manifest(
    name: str,
    images: Sequence[str],
    *,
    amend: bool = False,
    annotations: Mapping[str, str] | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> ManifestList:
    """Begin a list, or with `amend` add to one. Images may be indexes, whose images, attestations and
    annotations it gets.

    An image is a name in a registry or in the local store, or any place `copy` knows.
    Raises ManifestListExists, InvalidReference, NotFound, Unauthorized, Unavailable.
    """
    place = the_store(store)
    lists = ManifestLists(place)
    if not amend and lists.find(name) is not None:
        raise ManifestListExists
    empty = ManifestList(full_name(name))
    with Ends(place, the_settings(settings, insecure=insecure)) as ends:
        added = _gathered(empty, images, annotations, ends)

    def change(now: ManifestList | None) -> ManifestList:
        if now is not None and not amend:
            raise ManifestListExists
        base = now or empty
        entries = base.with_entries(added.entries).entries
        return ManifestList(base.name, entries, base.annotations | added.annotations)

    return lists.update(name, change)


def create_and_push(
    name: str,
    images: Sequence[str],
    *,
    annotations: Mapping[str, str] | None = None,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    on_pushed: Callable[[PushedManifest], None] | None = None,
) -> PushedManifest:
    """Make an index and send it, with every image that its repository lacks; nothing is kept here.

    The tag is moved last: interrupted, the registry shows what it showed before. Raises as `create_manifest`.
    """
    place = the_store(store)
    with Ends(place, the_settings(settings, insecure=insecure)) as ends:
        made = _gathered(ManifestList(full_name(name)), images, annotations, ends)
        return push_list(made, ends, on_pushed=on_pushed)


def _gathered(
    base: ManifestList, images: Sequence[str], annotations: Mapping[str, str] | None, ends: Ends
) -> ManifestList:
    made, merged = base, dict(base.annotations)
    for image in images:
        gathered = gather(image, ends)
        made = made.with_entries(gathered.entries)
        merged |= gathered.annotations
    return ManifestList(made.name, made.entries, merged | dict(annotations or {}))
