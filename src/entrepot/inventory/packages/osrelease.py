"""`etc/os-release` (os-release(5)): which distribution and version an image is made of."""

from __future__ import annotations

import shlex

from msgspec import Struct

from entrepot.inventory.packages.fields import as_text
from entrepot.inventory.packages.package import Evidence


class Release(Struct, frozen=True):
    """The distribution; all empty when the image does not say."""

    id: str = ""
    """`debian`, `alpine`, `rhel` …"""
    version: str = ""
    """VERSION_ID: `12`, `3.20.1`."""
    codename: str = ""
    """`bookworm`."""
    pretty: str = ""
    like: tuple[str, ...] = ()
    """What it is derived from, nearest first."""


def read_release(_path: str, data: bytes) -> Evidence:
    """`KEY=value` lines, quoted as a shell quotes."""
    found: dict[str, str] = {}
    for line in as_text(data)[:65_536].splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key and not key.startswith("#"):
            try:
                found[key] = " ".join(shlex.split(value))
            except ValueError:
                found[key] = value.strip("\"'")
    return Evidence(release=tuple(found.items()))


def release_of(fields: dict[str, str]) -> Release:
    return Release(
        fields.get("ID", "").lower(),
        fields.get("VERSION_ID", ""),
        fields.get("VERSION_CODENAME", ""),
        fields.get("PRETTY_NAME", ""),
        tuple(fields.get("ID_LIKE", "").lower().split()),
    )
