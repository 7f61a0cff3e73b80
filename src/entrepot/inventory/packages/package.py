"""What is known of one package, whoever installed it."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from entrepot.errors import InvalidInput, LimitExceeded


class Ecosystem(Enum):
    """Who names and versions a package; the value is its purl type."""

    DEB = "deb"
    APK = "apk"
    RPM = "rpm"
    PYPI = "pypi"
    NPM = "npm"
    GEM = "gem"
    GOLANG = "golang"
    CARGO = "cargo"
    MAVEN = "maven"
    COMPOSER = "composer"

    @property
    def is_system(self) -> bool:
        """Whether a distribution made it, and answers for its defects."""
        return self in (Ecosystem.DEB, Ecosystem.APK, Ecosystem.RPM)


class Package(Struct, frozen=True):
    """One package in one version."""

    ecosystem: Ecosystem
    name: str
    """As its ecosystem writes it: `@scope/name`, `vendor/name`, a Go module's path."""
    version: str
    architecture: str = ""
    group: str = ""
    """Maven's group."""
    source_name: str = ""
    """System packages: what it was built from; empty when that has the same name."""
    source_version: str = ""
    """Empty when it is the package's own."""
    licences: tuple[str, ...] = ()
    """As they are written there."""

    @property
    def key(self) -> tuple[str, str, str, str, str]:
        """What makes it the same package."""
        return self.ecosystem.value, self.group, self.name, self.version, self.architecture

    @property
    def source(self) -> tuple[str, str]:
        """Name and version that a distribution's advisories speak of."""
        return self.source_name or self.name, self.source_version or self.version


class Evidence(Struct, frozen=True):
    """What one file says."""

    packages: tuple[Package, ...] = ()
    owned: tuple[str, ...] = ()
    """Files (without leading `/`) that a system package brought; only such as could be evidence."""
    licences: tuple[str, ...] = ()
    """Licences of the package the file is named after (Debian's copyright files)."""
    release: tuple[tuple[str, str], ...] = ()
    """Fields of an os-release file."""
    problem: str = ""
    """Why it could not be read; the rest is empty then."""


class InvalidEvidence(InvalidInput):
    """A file is named like a package database and is none."""

    code = "invalid-package-database"


class EvidenceTooLarge(LimitExceeded):
    """A package database says or unpacks to more than is read of one."""

    code = "package-database-too-large"
