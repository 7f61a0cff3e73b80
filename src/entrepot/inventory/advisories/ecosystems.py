"""Under which names advisories for a package are filed. Pure."""

from __future__ import annotations

import re

from entrepot.inventory.packages.osrelease import Release
from entrepot.inventory.packages.package import Ecosystem, Package

_LANGUAGES = {
    Ecosystem.PYPI: "PyPI", Ecosystem.NPM: "npm", Ecosystem.GEM: "RubyGems", Ecosystem.GOLANG: "Go",
    Ecosystem.CARGO: "crates.io", Ecosystem.MAVEN: "Maven", Ecosystem.COMPOSER: "Packagist",
}  # fmt: skip
DEBIAN_RELEASES = {
    "stretch": "9", "buster": "10", "bullseye": "11", "bookworm": "12", "trixie": "13",
    "forky": "14", "duke": "15",
}  # fmt: skip
_MAJOR_ONLY = {"debian": "Debian", "rocky": "Rocky Linux", "almalinux": "AlmaLinux"}
_ROLLING = {"wolfi": "Wolfi", "chainguard": "Chainguard"}


def ecosystem_of(package: Package, release: Release) -> str:
    """OSV's name for where it comes from; empty when the distribution is not known to have one."""
    if not package.ecosystem.is_system:
        return _LANGUAGES[package.ecosystem]
    major = release.version.partition(".")[0]
    if release.id in _ROLLING:
        return _ROLLING[release.id]
    if release.id in _MAJOR_ONLY:
        return f"{_MAJOR_ONLY[release.id]}:{major}" if major else ""
    if release.id == "ubuntu":
        return f"Ubuntu:{release.version}"
    if release.id == "alpine":
        return "Alpine:v" + ".".join(release.version.split(".")[:2]) if release.version else ""
    if release.id in ("rhel", "centos"):
        return f"Red Hat:enterprise_linux:{major}"
    if release.id.startswith("opensuse"):
        return f"openSUSE:Leap {release.version}" if release.id == "opensuse-leap" else "openSUSE:Tumbleweed"
    return ""


def filed_ecosystem(name: str) -> str:
    """The same for what an advisory says: editions and repositories of one release are one."""
    if name.startswith("Ubuntu:") and not name.startswith("Ubuntu:Pro"):
        return name.removesuffix(":LTS")
    if name.startswith("Red Hat:enterprise_linux:"):
        return ":".join(name.split(":")[:3]).split(".", maxsplit=1)[0]
    return name


def filed_name(ecosystem: str, name: str) -> str:
    """One spelling of a name where an ecosystem has several (PEP 503; Packagist's are in lower case)."""
    if ecosystem == "PyPI":
        return re.sub(r"[-_.]+", "-", name).lower()
    return name.lower() if ecosystem == "Packagist" else name


def names_of(package: Package, ecosystem: str) -> tuple[tuple[str, str], ...]:
    """Names with the version to look up: Debian's, Ubuntu's and Alpine's speak of source packages."""
    if package.ecosystem is Ecosystem.MAVEN:
        return ((f"{package.group}:{package.name}", package.version),)
    if package.ecosystem in (Ecosystem.DEB, Ecosystem.APK):
        return (package.source,)
    if package.ecosystem is Ecosystem.RPM and package.source_name:
        return (package.name, package.version), (package.source_name, package.version)
    return ((filed_name(ecosystem, package.name), package.version),)
