"""`manifest annotate`: what an index says of one of its images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from entrepot.actions.endpoints import parse_endpoint
from entrepot.actions.manifest_lists import (
    SCHEMES,
    SUPPORTED_PLATFORMS,
    ManifestList,
    ManifestLists,
    ManifestNotInList,
    NoSuchManifestList,
    UnsupportedPlatform,
    familiar,
    full_name,
)
from entrepot.actions.places import the_store
from entrepot.images.store import ImageStore
from entrepot.oci.descriptor import Descriptor
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference


@dataclass(frozen=True, slots=True)
class PlatformChange:
    """What is to be said; None leaves a field as it is."""

    os: str | None = None
    architecture: str | None = None
    variant: str | None = None
    os_version: str | None = None
    os_features: Sequence[str] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)


def annotate_manifest(
    name: str,
    image: str,
    change: PlatformChange,
    *,
    store: ImageStore | Path | str | None = None,
) -> ManifestList:
    """Change an entry of a list in progress, named as it was added or by its digest.

    Raises NoSuchManifestList, ManifestNotInList, UnsupportedPlatform.
    """

    def changed(found: ManifestList | None) -> ManifestList:
        if found is None:
            raise NoSuchManifestList(familiar(name))
        place = _find(found, image, name)
        descriptor = _changed(found.entries[place].parsed(), change)
        entries = list(found.entries)
        entries[place] = msgspec.structs.replace(entries[place], descriptor=descriptor.to_json())
        return msgspec.structs.replace(found, entries=entries)

    return ManifestLists(the_store(store)).update(name, changed)


def _find(found: ManifestList, image: str, name: str) -> int:
    digest = image.partition("@")[2] or (image if image.startswith("sha256:") else "")
    names = _spellings(image)
    matching = [
        index
        for index, entry in enumerate(found.entries)
        if (digest and entry.descriptor["digest"] == digest) or names & {entry.ref, entry.source}
    ]
    if not matching:
        raise ManifestNotInList(image, Reference.parse(name).with_default_tag().familiar())
    return matching[0]


def _spellings(image: str) -> set[str]:
    """What an entry may be called that was added as `image`, a name or a place."""
    if image.startswith("sha256:"):
        return set()
    return {image, str(parse_endpoint(image)) if image.startswith(SCHEMES) else full_name(image)}


def _changed(descriptor: Descriptor, change: PlatformChange) -> Descriptor:
    before = descriptor.platform or Platform("", "")
    typed = Platform(change.os or "", change.architecture or "")
    platform = Platform(
        change.os if change.os is not None else before.os,
        change.architecture if change.architecture is not None else before.architecture,
        before.variant if change.variant is None else change.variant or None,
        before.os_version if change.os_version is None else change.os_version or None,
        tuple(change.os_features) or before.os_features,
    )
    if (typed.os or typed.architecture) and (platform.os, platform.architecture) not in SUPPORTED_PLATFORMS:
        raise UnsupportedPlatform(platform if typed.os and typed.architecture else typed)
    annotations = {**descriptor.annotations, **change.annotations}
    return msgspec.structs.replace(descriptor, platform=platform, annotations=annotations)
