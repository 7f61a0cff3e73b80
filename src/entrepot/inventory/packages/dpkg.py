"""dpkg: `var/lib/dpkg/status`, `status.d/*` of images without dpkg, file lists, copyright files."""

from __future__ import annotations

import re

from entrepot.inventory.packages.fields import as_text, paragraphs
from entrepot.inventory.packages.ownership import ownable
from entrepot.inventory.packages.package import Ecosystem, Evidence, Package

_SOURCE = re.compile(r"(\S+)(?: \(([^)]*)\))?")
_LICENCE = re.compile(r"^License:[ \t]*([^\s,;]{1,100})", re.MULTILINE)
_PRESENT = (
    "installed",
    "half-configured",
    "unpacked",
    "triggers-awaited",
    "triggers-pending",
    "half-installed",
)


def read_status(_path: str, data: bytes) -> Evidence:
    """Packages whose files are there, also when their configuration failed; not what was removed."""
    return Evidence(tuple(package for item in paragraphs(as_text(data)) if (package := _package(item))))


def _package(item: dict[str, str]) -> Package | None:
    name, version = item.get("package", ""), item.get("version", "")
    status = item.get("status", "installed").rpartition(" ")[2]
    if not name or not version or status not in _PRESENT:
        return None
    source = _SOURCE.match(item.get("source", ""))
    return Package(
        Ecosystem.DEB,
        name,
        version,
        architecture=item.get("architecture", ""),
        source_name=source[1] if source and source[1] != name else "",
        source_version=(source[2] or "") if source else "",
    )


def read_file_list(_path: str, data: bytes) -> Evidence:
    """`info/*.list`: what a package brought."""
    return Evidence(owned=ownable(as_text(data)))


def read_copyright(_path: str, data: bytes) -> Evidence:
    """Short names of licences, where the file is in the machine-readable form."""
    return Evidence(licences=tuple(dict.fromkeys(_LICENCE.findall(as_text(data)))))
