"""apk: `lib/apk/db/installed` (apk-tools: installed database v2)."""

from __future__ import annotations

from entrepot.inventory.packages.fields import as_text
from entrepot.inventory.packages.ownership import is_ownable
from entrepot.inventory.packages.package import Ecosystem, Evidence, Package


def read_installed(_path: str, data: bytes) -> Evidence:
    """A paragraph a package, each line a letter, a colon and a value; `F:` and `R:` are folder and file."""
    packages: list[Package] = []
    owned: list[str] = []
    for block in as_text(data).split("\n\n"):
        folder = ""
        said: dict[str, str] = {}
        for line in block.split("\n"):
            key, value = line[:2], line[2:]
            if key == "F:":
                folder = value
            elif key == "R:":
                path = f"{folder}/{value}" if folder else value
                if is_ownable(path):
                    owned.append(path)
            elif line[1:2] == ":":
                said.setdefault(key, value)
        name, version = said.get("P:", ""), said.get("V:", "")
        if not name or not version:
            continue
        origin = said.get("o:", "")
        licence = said.get("L:", "")
        packages.append(
            Package(
                Ecosystem.APK,
                name,
                version,
                architecture=said.get("A:", ""),
                source_name=origin if origin != name else "",
                licences=(licence,) if licence else (),
            )
        )
    return Evidence(tuple(packages), owned=tuple(owned))
