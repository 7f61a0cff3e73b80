"""`manifest inspect`: a list in progress, or a manifest of a registry."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from entrepot.actions.endpoints import Ends
from entrepot.actions.manifest_lists import Entry, ManifestList, ManifestLists, ManifestNotInList, gather
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
        return _verbose(entry) if verbose else msgspec.json.decode(entry.manifest())
    found = lists.find(name)
    if found is not None:
        return [_verbose(entry) for entry in found.entries] if verbose else _shown_index(found.to_index())
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
    return _shown_index(parsed) if isinstance(parsed, Index) else msgspec.json.decode(top.raw)


def _documents(entries: list[Entry], verbose: bool, *, index: bool = False) -> Any:
    if not verbose:
        return msgspec.json.decode(entries[0].manifest())
    documents = [_verbose(entry) for entry in entries]
    return documents if index or len(documents) != 1 else documents[0]


def _entry_of(found: ManifestList, image: str, name: str) -> Entry:
    wanted = str(Reference.parse(image).with_default_tag())
    for entry in found.entries:
        if entry.ref == wanted or entry.descriptor["digest"] == image.partition("@")[2]:
            return entry
    raise ManifestNotInList(image, name)


def _shown_index(index: Index) -> dict[str, Any]:
    """The fields docker shows, in its order."""
    return {
        "schemaVersion": 2,
        "mediaType": index.media_type,
        "manifests": [_shown_descriptor(descriptor.to_json()) for descriptor in index.manifests],
        **({"annotations": dict(index.annotations)} if index.annotations else {}),
    }


def _shown_descriptor(document: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {key: document[key] for key in ("mediaType", "size", "digest")}
    if document.get("platform"):
        platform = document["platform"]
        order = ("architecture", "os", "os.version", "os.features", "variant")
        shown["platform"] = {key: platform[key] for key in order if key in platform}
    if document.get("annotations"):
        shown["annotations"] = document["annotations"]
    return shown


def _verbose(entry: Entry) -> dict[str, Any]:
    raw = entry.manifest()
    manifest = msgspec.json.decode(raw)
    is_docker = "docker" in str(entry.descriptor.get("mediaType", ""))
    return {
        "Ref": f"{entry.ref.partition('@')[0]}@{entry.descriptor['digest']}"
        if "@" not in entry.ref
        else entry.ref,
        "Descriptor": _shown_descriptor(entry.descriptor),
        "Raw": base64.b64encode(raw).decode(),
        ("SchemaV2Manifest" if is_docker else "OCIManifest"): manifest,
    }
