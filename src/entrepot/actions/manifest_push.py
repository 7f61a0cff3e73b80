"""`manifest push`: an index and everything it names, to a registry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from entrepot.actions.endpoints import Ends, OpenOrigin, open_origin, parse_endpoint
from entrepot.actions.manifest_lists import ListEntry, ManifestList, ManifestLists, index_bytes
from entrepot.actions.places import the_settings, the_store
from entrepot.client.repository import Repository
from entrepot.client.settings import ClientSettings
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.digest import Digest
from entrepot.oci.reference import Reference
from entrepot.transfer.copy import copy


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """A manifest that the registry holds now."""

    reference: str
    """`NAME@DIGEST` for an image, the tag for the index."""
    digest: Digest


def push_manifest(
    name: str,
    *,
    purge: bool = False,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    on_pushed: Callable[[PushedManifest], None] | None = None,
) -> PushedManifest:
    """Send a list in progress; with `purge` it is forgotten afterwards, unless somebody has changed it
    meanwhile. `on_pushed` is told of each image that was sent.

    Images come from wherever they are, other registries included; what the target has is not sent again.
    Raises NoSuchManifestList, NoPlatform, NotFound, Unauthorized, Unavailable.
    """
    place = the_store(store)
    lists = ManifestLists(place)
    found = lists.get(name)
    with Ends(place, the_settings(settings, insecure=insecure)) as ends:
        pushed = push_list(found, ends, on_pushed=on_pushed)
    if purge:
        lists.forget(found)
    return pushed


def push_list(
    found: ManifestList, ends: Ends, *, on_pushed: Callable[[PushedManifest], None] | None = None
) -> PushedManifest:
    """Send the images, then the index under its tag."""
    index = found.to_index()
    target = Reference.parse(found.name)
    repository = cast("Repository", ends.repository(target, push=True))
    for source, entries in _by_source(found.entries).items():
        endpoint = parse_endpoint(source)
        same = endpoint.reference is not None and endpoint.reference.name == target.name
        if same and endpoint.kind == "docker":
            continue
        with open_origin(endpoint, ends) as origin:
            for entry in entries:
                _send(entry, origin, repository, target, on_pushed)
    manifest = index_bytes(index)
    repository.put_manifest(manifest, target.tag)
    return PushedManifest(str(target), manifest.digest)


def _send(
    entry: ListEntry,
    origin: OpenOrigin,
    repository: Repository,
    target: Reference,
    on_pushed: Callable[[PushedManifest], None] | None,
) -> None:
    digest = entry.parsed().digest
    neighbour = origin.name.repository if origin.name and origin.name.registry == target.registry else None

    def mount_from(_: Descriptor) -> Iterable[str]:
        return [neighbour] if neighbour else []

    copy(origin.source, repository, reference=digest, to=None, mount_from=mount_from)
    if on_pushed is not None:
        on_pushed(PushedManifest(f"{target.name}@{digest}", digest))


def _by_source(entries: Iterable[ListEntry]) -> dict[str, list[ListEntry]]:
    groups: dict[str, list[ListEntry]] = {}
    for entry in entries:
        groups.setdefault(entry.source, []).append(entry)
    return groups
