"""Package URLs (package-url/purl-spec) of what was found."""

from __future__ import annotations

from entrepot.inventory.packages.osrelease import Release
from entrepot.inventory.packages.package import Ecosystem, Package


def purl_of(package: Package, release: Release) -> str:
    """A system package's names its distribution: `pkg:deb/debian/bash@5.2?arch=amd64&distro=debian-12`."""
    from packageurl import PackageURL

    namespace, name, version = package.group or None, package.name, package.version
    qualifiers: dict[str, str] = {}
    if package.ecosystem.is_system:
        namespace = release.id or None
        qualifiers["arch"] = package.architecture
        if package.ecosystem is Ecosystem.RPM and ":" in version:
            qualifiers["epoch"], _, version = version.partition(":")
        if package.source_name or package.source_version:
            source, number = package.source
            qualifiers["upstream"] = f"{source}@{number}" if package.source_version else source
        if release.id and release.version:
            qualifiers["distro"] = f"{release.id}-{release.version}"
    elif "/" in name:
        namespace, _, name = name.rpartition("/")
    qualifiers = {key: value for key, value in qualifiers.items() if value}
    return PackageURL(package.ecosystem.value, namespace, name, version, qualifiers).to_string()
