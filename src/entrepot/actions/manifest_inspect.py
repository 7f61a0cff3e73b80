"""`manifest inspect`: a list in progress, or a manifest of a registry."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from entrepot.actions.endpoints import Ends
from entrepot.actions.manifest_lists import (
    ListEntry,
    ManifestList,
    ManifestLists,
    ManifestNotInList,
    gather,
    shown_descriptor,
    shown_index,
)
from entrepot.actions.places import the_settings, the_store
from entrepot.client.settings import ClientSettings
from entrepot.errors import NotFound
from entrepot.images.store import ImageStore
from entrepot.oci.manifest import Index
from entrepot.oci.reference import Reference


class NoSuchManifest(NotFound):
    """Neither a list in progress nor the registry has it."""

    code: ClassVar[str] = "no-such-manifest"
    bare = True

    def __init__(self, name: str) -> None:
        super().__init__(f"no such manifest: {name}")


def inspect_manifest(
    name: str,
    *,
    in_list: str | None = None,
    verbose: bool = False,
    insecure: bool = False,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
) -> Any:
    """The document docker prints: of a list, its index; of an image, its manifest as it is; `verbose`, with
    descriptors.

    Looks at the lists in progress first, then at the registry, then at the local store.
    Raises NoSuchManifest, ManifestNotInList, InvalidReference.
    """
    place = the_store(store)
    lists = ManifestLists(place)
    if in_list is not None:
        entry = _entry_of(lists.get(in_list), name, in_list)
        return _verbose(entry, entry.ref) if verbose else msgspec.json.decode(entry.manifest())
    found = lists.find(name)
    if found is not None:
        return _all_verbose(found.entries) if verbose else shown_index(found.to_index())
    with Ends(place, the_settings(settings, insecure=insecure)) as ends:
        return _remote(name, ends, verbose)


def _remote(name: str, ends: Ends, verbose: bool) -> Any:
    reference = Reference.parse(name).with_default_tag()
    try:
        repository = ends.repository(reference)
        top = repository.get_manifest(reference.digest or reference.tag or "latest")
    except NotFound:
        try:
            return _documents(gather(f"store:{name}", ends).entries, verbose)
        except NotFound:
            raise NoSuchManifest(reference.familiar()) from None
    parsed = top.parse()
    if verbose:
        return _documents(gather(f"docker://{name}", ends).entries, verbose, index=isinstance(parsed, Index))
    return shown_index(parsed) if isinstance(parsed, Index) else msgspec.json.decode(top.raw)


def _documents(entries: list[ListEntry], verbose: bool, *, index: bool = False) -> Any:
    if not verbose:
        return msgspec.json.decode(entries[0].manifest())
    if not index and len(entries) == 1:
        return _verbose(entries[0], entries[0].ref)
    return [_verbose(entry, _child_ref(entry)) for entry in entries]


def _all_verbose(entries: Sequence[ListEntry]) -> list[dict[str, Any]]:
    """Of a list in progress: under the names the images were added by, unless that was an index's."""
    counts = Counter(entry.ref for entry in entries)
    return [_verbose(entry, entry.ref if counts[entry.ref] == 1 else _child_ref(entry)) for entry in entries]


def _child_ref(entry: ListEntry) -> str:
    return f"{entry.ref.partition('@')[0]}@{entry.descriptor['digest']}"


def _entry_of(found: ManifestList, image: str, name: str) -> ListEntry:
    wanted = str(Reference.parse(image).with_default_tag())
    for entry in found.entries:
        if entry.ref == wanted or entry.descriptor["digest"] == image.partition("@")[2]:
            return entry
    raise ManifestNotInList(image, name)


def _verbose(entry: ListEntry, ref: str) -> dict[str, Any]:
    raw = entry.manifest()
    manifest = msgspec.json.decode(raw)
    is_docker = "docker" in str(entry.descriptor.get("mediaType", ""))
    return {
        "Ref": ref,
        "Descriptor": shown_descriptor(entry.descriptor, ("mediaType", "digest", "size")),
        "Raw": base64.b64encode(raw).decode(),
        ("SchemaV2Manifest" if is_docker else "OCIManifest"): manifest,
    }
