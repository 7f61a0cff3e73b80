"""OpenVEX documents (openvex.dev, 0.2.0): why a finding is none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from entrepot.inventory.advisories.advisory import InvalidAdvisories

_MAX_BYTES = 64 << 20
SILENCING = ("not_affected", "fixed")


class _Named(msgspec.Struct):
    name: str = ""
    id: str = msgspec.field(name="@id", default="")
    aliases: list[str] = []


class _Component(msgspec.Struct):
    id: str = msgspec.field(name="@id", default="")
    identifiers: dict[str, str] = {}
    subcomponents: list[_Component] = []

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.id, *self.identifiers.values())))


class VexStatement(msgspec.Struct):
    """One claim."""

    vulnerability: _Named | str
    status: str
    products: list[_Component] = []
    justification: str = ""
    impact_statement: str = ""
    timestamp: str = ""

    @property
    def vulnerabilities(self) -> tuple[str, ...]:
        if isinstance(self.vulnerability, str):
            return (self.vulnerability,)
        return tuple(
            filter(None, (self.vulnerability.name, self.vulnerability.id, *self.vulnerability.aliases))
        )


class _Document(msgspec.Struct):
    statements: list[VexStatement]
    timestamp: str = ""


def read_vex(path: Path) -> list[VexStatement]:
    """The later of two statements last. Raises InvalidAdvisories, OSError."""
    with path.open("rb") as stream:
        data = stream.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise InvalidAdvisories(f"{path} has more than {_MAX_BYTES} bytes")
    try:
        document = msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidAdvisories(f"{path} is no OpenVEX document: {error}") from error
    return sorted(document.statements, key=lambda each: each.timestamp or document.timestamp)


def statement_on(
    statements: Sequence[VexStatement], names: Iterable[str], purl: str, image: Sequence[str]
) -> VexStatement | None:
    """The last statement on one of the vulnerability's names in this package of this image."""
    wanted = set(names)
    found = None
    for statement in statements:
        if not wanted.isdisjoint(statement.vulnerabilities) and any(
            _is_about(product, purl, image) for product in statement.products
        ):
            found = statement
    return found


def _is_about(product: _Component, purl: str, image: Sequence[str]) -> bool:
    if any(_names_package(name, purl) for name in product.names):
        return True
    if not any(_names_image(name, image) for name in product.names):
        return False
    parts = product.subcomponents
    return not parts or any(_names_package(name, purl) for part in parts for name in part.names)


def _names_package(name: str, purl: str) -> bool:
    """Whether a purl of a statement holds for the package's: what it leaves out may be anything."""
    from packageurl import PackageURL

    if not name.startswith("pkg:"):
        return False
    try:
        said, own = PackageURL.from_string(name), PackageURL.from_string(purl)
    except ValueError:
        return False
    qualifiers = own.qualifiers if isinstance(own.qualifiers, dict) else {}
    wanted = said.qualifiers if isinstance(said.qualifiers, dict) else {}
    return (
        (said.type, said.namespace, said.name) == (own.type, own.namespace, own.name)
        and said.version in (None, own.version)
        and all(qualifiers.get(key) == value for key, value in wanted.items())
    )


def _names_image(name: str, image: Sequence[str]) -> bool:
    """By its name or digest, as they are or in a `pkg:oci` URL."""
    from packageurl import PackageURL

    if name in image:
        return True
    if not name.startswith("pkg:oci/"):
        return False
    try:
        said = PackageURL.from_string(name)
    except ValueError:
        return False
    if said.version:
        return said.version in image
    return any(each.partition("@")[0].rpartition("/")[2].partition(":")[0] == said.name for each in image)
