"""npm: `package.json` of what is installed, and lock files of what would be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from entrepot.inventory.packages.documents import json_object
from entrepot.inventory.packages.package import Ecosystem, Evidence, Package

_YARN = re.compile(r'^"?(@?[^@"\s,]{1,214})@[^\n]*:\n  version:? "?([^"\s]{1,256})"?$', re.MULTILINE)


def read_package(_path: str, data: bytes) -> Evidence:
    """One package; nothing when name or version is missing: many files of that name only set options."""
    item = json_object(data)
    name, version = item.get("name"), item.get("version")
    if not isinstance(name, str) or not isinstance(version, str) or not name or not version:
        return Evidence()
    licences = tuple(_licences(item.get("license", item.get("licenses"))))
    return Evidence((Package(Ecosystem.NPM, name, version, licences=licences),))


def _licences(value: Any) -> Iterator[str]:
    for item in value if isinstance(value, list) else [value]:
        text = item.get("type") if isinstance(item, dict) else item
        if isinstance(text, str) and text:
            yield text


def read_lock(_path: str, data: bytes) -> Evidence:
    """`package-lock.json`, `npm-shrinkwrap.json`: versions 1 to 3."""
    document = json_object(data)
    found: dict[tuple[str, str], Package] = {}
    packages = document.get("packages")
    if isinstance(packages, dict):
        for path, item in packages.items():
            if path and isinstance(item, dict) and not item.get("link"):
                _add(found, item.get("name") or path.rpartition("node_modules/")[2], item)
    else:
        waiting = [document.get("dependencies")]
        while waiting:
            level = waiting.pop()
            if isinstance(level, dict):
                for name, item in level.items():
                    if isinstance(item, dict):
                        _add(found, name, item)
                        waiting.append(item.get("dependencies"))
    return Evidence(tuple(found.values()))


def _add(found: dict[tuple[str, str], Package], name: Any, item: dict[str, Any]) -> None:
    version = item.get("version")
    if isinstance(name, str) and isinstance(version, str) and name and version:
        licences = tuple(_licences(item.get("license")))
        found.setdefault((name, version), Package(Ecosystem.NPM, name, version, licences=licences))


def read_yarn(_path: str, data: bytes) -> Evidence:
    """`yarn.lock`, both generations."""
    return _pairs(_YARN.findall(data.decode("utf-8", "replace").replace("\r\n", "\n")))


def read_pnpm(_path: str, data: bytes) -> Evidence:
    """`pnpm-lock.yaml`: keys below `packages:`: `/name/1.0.0` (before 6), `/name@1.0.0`, `name@1.0.0`."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    pairs = []
    for line in text.partition("\npackages:\n")[2].split("\n"):
        if line[:1] not in ("", " "):
            break
        if line.startswith("  ") and line[2:3] != " " and line.endswith(":"):
            key = line[2:-1].strip("'\"").partition("(")[0]
            slash = "/" if key.startswith("/") and "@" not in key[2:] else "@"
            name, _, version = key.lstrip("/").rpartition(slash)
            if name and version[:1].isdigit():
                pairs.append((name, version))
    return _pairs(pairs)


def _pairs(pairs: list[tuple[str, str]]) -> Evidence:
    return Evidence(tuple(Package(Ecosystem.NPM, name, version) for name, version in dict.fromkeys(pairs)))
