"""One order for each ecosystem: `compare`, and what of it may be believed about a stranger's version.

univers has the orders of Debian, RubyGems, Maven and NuGet. RPM's, apk's, Composer's, Python's and semantic
versions' are ours: there univers refuses versions that are in use, or puts them elsewhere than the package
manager itself. Whatever cannot be read gives None, and None is "unknown": never "not affected".
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from entrepot.inventory.versions import apk, composer, python, rpm, semantic

MAX_LENGTH = 1024
"""Characters of a version. None in use has a quarter of it; longer ones are unknown, unread."""

_CHARACTERS = re.compile(r"[0-9A-Za-z.+~^_:!*@/=-]+\Z")
_DIGIT = re.compile(r"[0-9]")
_DIGIT_FIRST = re.compile(r"[vV=]{0,2}[0-9]")

Compare = Callable[[str, str], int | None]


def compare(ecosystem: str, a: str, b: str) -> int | None:
    """-1 when `a` is older, 1 when it is newer, 0 when they are equal; None when it cannot be told.

    `ecosystem` is a purl type or OSV's name, with a release or not: `deb`, `Debian:12`, `crates.io`. Raises
    nothing.
    """
    found = ORDERS.get(family_of(ecosystem))
    if found is None or not _is_plausible(a) or not _is_plausible(b):
        return None
    return _compare(found, a, b)


@lru_cache(maxsize=16_384)
def _compare(order: Compare, a: str, b: str) -> int | None:
    try:
        return order(a, b)
    except Exception:  # noqa: BLE001 - univers raises whatever its parsers meet; it means: not readable
        return None


def is_readable(ecosystem: str, version: str) -> bool:
    """Whether a verdict may rest on it: a version by the ecosystem's rules, not a word like `latest`."""
    family = family_of(ecosystem)
    if family not in ORDERS or not _is_plausible(version):
        return False
    if family == "pypi" and not python.is_pep440(version):
        return False
    if family == "apk" and not apk.is_valid(version):
        return False
    if family == "composer" and not composer.is_numbered(version):
        return False
    needed = _DIGIT if family in ("maven", "rpm") else _DIGIT_FIRST
    return needed.match(version) is not None if needed is _DIGIT_FIRST else needed.search(version) is not None


def family_of(ecosystem: str) -> str:
    """The order an ecosystem has; what is not known stays as it is and has none."""
    name = ecosystem.partition(":")[0].strip().lower()
    return FAMILIES.get(name, name)


def _is_plausible(version: str) -> bool:
    return len(version) <= MAX_LENGTH and _CHARACTERS.match(version) is not None


def _by_univers(name: str) -> Compare:
    def order(a: str, b: str) -> int:
        left, right = _parsed(name, a), _parsed(name, b)
        return 0 if left == right else -1 if left < right else 1

    return order


@lru_cache(maxsize=16_384)
def _parsed(name: str, text: str) -> Any:
    from univers import versions

    return getattr(versions, name)(text)


ORDERS: dict[str, Compare] = {
    "deb": _by_univers("DebianVersion"),
    "apk": apk.compare,
    "rpm": rpm.compare,
    "pypi": python.compare,
    "semver": semantic.compare,
    "gem": _by_univers("RubygemsVersion"),
    "maven": _by_univers("MavenVersion"),
    "nuget": _by_univers("NugetVersion"),
    "composer": composer.compare,
    "alpm": _by_univers("ArchLinuxVersion"),
    "ebuild": _by_univers("GentooVersion"),
    "conan": _by_univers("ConanVersion"),
}

FAMILIES: dict[str, str] = {
    "debian": "deb", "ubuntu": "deb", "echo": "deb", "dpkg": "deb",
    "alpine": "apk", "wolfi": "apk", "chainguard": "apk", "minimos": "apk", "alpaquita": "apk",
    "bellsoft hardened containers": "apk", "apk-tools": "apk",
    "red hat": "rpm", "redhat": "rpm", "rocky linux": "rpm", "almalinux": "rpm",
    "suse": "rpm", "opensuse": "rpm",
    "mageia": "rpm",
    "openeuler": "rpm", "azure linux": "rpm", "photon os": "rpm", "fedora": "rpm",
    "centos": "rpm",
    "npm": "semver", "cargo": "semver", "crates.io": "semver", "go": "semver",
    "golang": "semver",    "hex": "semver",
    "pub": "semver", "swifturl": "semver", "swift": "semver", "github actions": "semver", "julia": "semver",
    "bitnami": "semver",
    "python": "pypi",
    "rubygems": "gem", "ruby": "gem",
    "packagist": "composer",
    "gentoo": "ebuild", "arch": "alpm", "arch linux": "alpm", "conancenter": "conan",
}  # fmt: skip
"""Names of ecosystems in lower case → the order they share."""
