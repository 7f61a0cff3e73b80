"""Installed Python distributions: `*.dist-info/METADATA`, `*.egg-info` (core metadata specification)."""

from __future__ import annotations

from entrepot.inventory.packages.fields import as_text
from entrepot.inventory.packages.package import Ecosystem, Evidence, Package

_LICENCE_CLASSIFIER = "License :: "


def read_metadata(_path: str, data: bytes) -> Evidence:
    """Name and version of one distribution; nothing when either is missing."""
    head = as_text(data).replace("\r\n", "\n").partition("\n\n")[0]
    name = version = expression = licence = ""
    classified: list[str] = []
    for line in head.split("\n"):
        key, colon, value = line.partition(":")
        key, value = key.lower(), value.strip()
        if not colon or line[:1] in (" ", "\t"):
            continue
        if key == "name":
            name = name or value
        elif key == "version":
            version = version or value
        elif key == "license-expression":
            expression = value
        elif key == "license":
            licence = value
        elif key == "classifier" and value.startswith(_LICENCE_CLASSIFIER):
            classified.append(value.rpartition(" :: ")[2])
    if not name or not version:
        return Evidence()
    # Some write the whole text of the licence there.
    said = expression or (licence if len(licence) <= 100 and licence.upper() != "UNKNOWN" else "")
    return Evidence(
        (Package(Ecosystem.PYPI, name, version, licences=(said,) if said else tuple(classified)),)
    )
