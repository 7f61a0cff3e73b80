"""Ruby: installed gems' `specifications/*.gemspec`, and `Gemfile.lock`."""

from __future__ import annotations

import re

from entrepot.inventory.packages.package import Ecosystem, Evidence, Package

_NAME = re.compile(r"""\.name\s{0,20}=\s{0,20}["']([A-Za-z0-9._-]{1,200})["']""")
_VERSION = re.compile(
    r"""\.version\s{0,20}=\s{0,20}(?:Gem::Version\.new\(?\s{0,20})?["']([0-9A-Za-z.-]{1,200})["']"""
)
_LICENCES = re.compile(r"""\.licenses?\s{0,20}=\s{0,20}(\[[^\]\[]{0,1000}\]|["'][^"'\n]{0,200}["'])""")
_TEXT = re.compile(r"""["']([^"'\n]{1,200})["']""")
_LOCKED = re.compile(r"^    ([A-Za-z0-9._-]{1,200}) \(([^()\s]{1,200})\)$", re.MULTILINE)


def read_specification(path: str, data: bytes) -> Evidence:
    """A gemspec as RubyGems writes it when it installs, read as text; else what the file's name says."""
    text = data.decode("utf-8", "replace")
    name, version, licences = _NAME.search(text), _VERSION.search(text), _LICENCES.search(text)
    if name is None or version is None:
        base = path.rpartition("/")[2].removesuffix(".gemspec")
        gem, dash, number = base.rpartition("-")
        if not dash or not number[:1].isdigit():
            return Evidence()
        return Evidence((Package(Ecosystem.GEM, gem, number),))
    named = tuple(_TEXT.findall(licences[1])) if licences else ()
    return Evidence((Package(Ecosystem.GEM, name[1], version[1], licences=named),))


def read_lock(_path: str, data: bytes) -> Evidence:
    """`Gemfile.lock`: names and versions below `specs:`, at four spaces; `-x86_64-linux` is a platform."""
    text = data.decode("utf-8", "replace").replace("\r\n", "\n")
    pairs = {(name, version.partition("-")[0]) for name, version in _LOCKED.findall(text)}
    return Evidence(tuple(Package(Ecosystem.GEM, name, version) for name, version in sorted(pairs)))
