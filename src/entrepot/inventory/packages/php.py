"""PHP: what Composer installed (`vendor/composer/installed.json`), and `composer.lock`."""

from __future__ import annotations

from typing import Any

from entrepot.inventory.packages.documents import json_value
from entrepot.inventory.packages.package import Ecosystem, Evidence, Package


def read_composer(_path: str, data: bytes) -> Evidence:
    """Both have packages as objects with name and version; old `installed.json` is the list itself."""
    document = json_value(data)
    lists = (
        (document.get("packages"), document.get("packages-dev"))
        if isinstance(document, dict)
        else (document,)
    )
    found: dict[tuple[str, ...], Package] = {}
    for items in lists:
        for item in items if isinstance(items, list) else ():
            package = _package(item)
            if package is not None:
                found.setdefault(package.key, package)
    return Evidence(tuple(found.values()))


def _package(item: Any) -> Package | None:
    if not isinstance(item, dict):
        return None
    name, version, licences = item.get("name"), item.get("version"), item.get("license")
    if not isinstance(name, str) or not isinstance(version, str) or not name or not version:
        return None
    named = licences if isinstance(licences, list) else [licences]
    return Package(
        Ecosystem.COMPOSER,
        name,
        version,
        licences=tuple(licence for licence in named if isinstance(licence, str) and licence),
    )
