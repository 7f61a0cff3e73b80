"""Layers' evidence, bottom first, merged into what the image has. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from entrepot.inventory.packages.catalog import reader_of
from entrepot.inventory.packages.layer import LayerEvidence
from entrepot.inventory.packages.osrelease import Release, release_of
from entrepot.inventory.packages.package import Evidence, Package


class FoundPackage(Struct, frozen=True):
    """A package where it was found."""

    package: Package
    path: str
    """The file that says so, without leading `/`."""
    layer: int
    """Which layer brought it, from 0 at the bottom: the first since which this version is there."""
    owner: str = ""
    """The file of a system's package manager that says this one is part of its own package."""


class Inventory(Struct, frozen=True):
    """What an image has."""

    release: Release
    packages: tuple[FoundPackage, ...]
    """By ecosystem, name, version and path."""
    problems: tuple[tuple[str, str], ...] = ()
    """Path and reason of what could not be read: packages may be missing."""


class _Kept(Struct):
    evidence: Evidence
    since: dict[tuple[str, str, str, str, str], int]
    """Package → the layer it came with, as long as each later form of the file had it too."""


def merge(layers: Sequence[LayerEvidence]) -> Inventory:
    """As an overlay of the layers would show it (image-spec: Applying changesets)."""
    kept: dict[str, _Kept] = {}
    for index, layer in enumerate(layers):
        before = kept
        kept = {path: item for path, item in kept.items() if not _is_hidden(path, layer)} if index else {}
        for path, evidence in layer.evidence.items():
            # A file that is written again goes on; one that was gone in between was taken out above.
            earlier = before.get(path)
            since = earlier.since if earlier is not None else {}
            kept[path] = _Kept(
                evidence, {package.key: since.get(package.key, index) for package in evidence.packages}
            )
    return _inventory(kept)


def _is_hidden(path: str, layer: LayerEvidence) -> bool:
    if path in layer.folders or path in layer.files or path in layer.removed or "" in layer.opaque:
        return True
    at = path.rfind("/")
    while at > 0:
        above = path[:at]
        if above in layer.removed or above in layer.opaque or above in layer.files:
            return True
        at = path.rfind("/", 0, at)
    return False


def _inventory(kept: dict[str, _Kept]) -> Inventory:
    owners = {owned: path for path, item in kept.items() for owned in item.evidence.owned}
    licences = {
        path.split("/")[-2]: item.evidence.licences for path, item in kept.items() if item.evidence.licences
    }
    release: dict[str, str] = {}
    for path in ("usr/lib/os-release", "etc/os-release"):
        if path in kept:
            release.update(kept[path].evidence.release)
    installed = [path for path, item in kept.items() if item.evidence.packages and not _is_lock(path)]
    found = []
    for path, item in kept.items():
        if _is_lock(path) and _is_beside(path, installed):
            continue
        owner = _owner(path, owners)
        for package in item.evidence.packages:
            known = licences.get(package.name, ()) if package.ecosystem.is_system else ()
            if known and not package.licences:
                package = _licensed(package, known)
            found.append(FoundPackage(package, path, item.since[package.key], owner))
    found.sort(key=lambda each: (*each.package.key, each.path))
    problems = sorted((path, item.evidence.problem) for path, item in kept.items() if item.evidence.problem)
    return Inventory(release_of(release), tuple(found), tuple(problems))


def _licensed(package: Package, licences: tuple[str, ...]) -> Package:
    from msgspec.structs import replace

    return replace(package, licences=licences)


def _owner(path: str, owners: dict[str, str]) -> str:
    """Distributions of merged `/usr` name files by either path."""
    return owners.get(path) or owners.get(path.removeprefix("usr/")) or owners.get(f"usr/{path}") or ""


def _is_lock(path: str) -> bool:
    reader = reader_of(path, 0, 0)
    return reader is not None and reader.is_lock


_INSTALLED_BELOW = {
    "composer.lock": "vendor/composer/",
    "Gemfile.lock": "vendor/",
    "package-lock.json": "node_modules/",
    "npm-shrinkwrap.json": "node_modules/",
    "yarn.lock": "node_modules/",
    "pnpm-lock.yaml": "node_modules/",
}


def _is_beside(path: str, installed: list[str]) -> bool:
    """Whether what a lock file names was installed beside it: that says what is there."""
    folder, slash, base = path.rpartition("/")
    prefix = folder + slash + _INSTALLED_BELOW[base]
    return any(other.startswith(prefix) for other in installed)
