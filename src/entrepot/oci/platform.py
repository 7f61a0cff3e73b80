"""Platforms: which machine an image is for, and which of several fits (image-spec: image index).

Spelling and fallback are containerd's, which docker uses: `x86_64` is `amd64`, `arm64` runs `arm`
images when there is nothing better, `arm/v7` runs `v6` and `v5`.
"""

from __future__ import annotations

import platform as _machine
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from entrepot.errors import InvalidInput

_SPECIFIER_PART: Final = re.compile(r"[A-Za-z0-9_.-]+")
_OS_WITH_VERSION: Final = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?")

_OS_NAMES: Final = """
aix android darwin dragonfly freebsd hurd illumos ios js linux nacl netbsd openbsd plan9 solaris
wasip1 windows zos
"""
_ARCHITECTURE_NAMES: Final = """
386 amd64 amd64p32 arm armbe arm64 arm64be loong64 mips mipsle mips64 mips64le mips64p32 mips64p32le
ppc ppc64 ppc64le riscv riscv64 s390 s390x sparc sparc64 wasm
"""
KNOWN_OS: Final = frozenset(_OS_NAMES.split())
KNOWN_ARCHITECTURES: Final = frozenset(_ARCHITECTURE_NAMES.split())


class InvalidPlatform(InvalidInput):
    """The text names no platform. The message is docker's."""

    code = "invalid-platform"


class Platform(Struct, frozen=True, order=True):
    os: str
    architecture: str
    variant: str | None = None
    os_version: str | None = None
    os_features: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Platform:
        """`os`, `architecture`, `os/architecture` or `os/architecture/variant`. Raises InvalidPlatform."""
        parts = text.split("/")
        if len(parts) > 3:
            raise _invalid(text, "cannot parse platform specifier")
        os_part = _OS_WITH_VERSION.fullmatch(parts[0])
        if os_part is None or not all(_SPECIFIER_PART.fullmatch(part) for part in parts[1:]):
            raise _invalid(text, "invalid component in platform specifier")
        os_version = os_part[2] or None
        if len(parts) == 1:
            return cls._parse_single(text, os_part[1], os_version)
        variant = parts[2] if len(parts) == 3 else None
        return cls(os_part[1], parts[1], variant, os_version).normalized()

    @classmethod
    def _parse_single(cls, text: str, word: str, os_version: str | None) -> Platform:
        host = cls.host()
        if (os := _normalized_os(word)) in KNOWN_OS:
            return replace(host, os=os, os_version=os_version)
        guess = cls(host.os, word).normalized()
        if guess.architecture in KNOWN_ARCHITECTURES:
            return guess
        raise _invalid(text, "unknown operating system or architecture")

    @classmethod
    def host(cls) -> Platform:
        """The machine this runs on; always Linux where containers are concerned."""
        os = sys.platform if sys.platform in KNOWN_OS else "linux"
        architecture = _machine.machine() or "amd64"
        variants = {"armv7l": ("arm", "v7"), "armv6l": ("arm", "v6"), "armv8l": ("arm", "v8")}
        name, variant = variants.get(architecture, (architecture, None))
        return cls(os, name, variant).normalized()

    @classmethod
    def from_json(cls, obj: Mapping[str, Any]) -> Platform:
        """As an index or an image config spells it; types of values must have been checked."""
        return cls(
            obj.get("os") or "",
            obj.get("architecture") or "",
            obj.get("variant") or None,
            obj.get("os.version") or None,
            tuple(obj.get("os.features") or ()),
        )

    def to_json(self) -> dict[str, Any]:
        """As an index spells it, set fields only."""
        result: dict[str, Any] = {"architecture": self.architecture, "os": self.os}
        if self.os_version:
            result["os.version"] = self.os_version
        if self.os_features:
            result["os.features"] = list(self.os_features)
        if self.variant:
            result["variant"] = self.variant
        return result

    def normalized(self) -> Platform:
        """One spelling for one machine: `linux/aarch64/v8` is `linux/arm64`."""
        architecture, variant = _normalized_architecture(self.architecture, self.variant or "")
        return replace(self, os=_normalized_os(self.os), architecture=architecture, variant=variant or None)

    @property
    def is_unknown(self) -> bool:
        """`unknown/unknown`: an attestation beside an image, not an image to run."""
        return self.os == "unknown" and self.architecture == "unknown"

    def __str__(self) -> str:
        parts = (self.os, self.architecture, self.variant)
        return "/".join(part for part in parts if part)


def select_platform(candidates: Sequence[Platform | None], wanted: Platform) -> int | None:
    """Which candidate to run on `wanted`: the best fit, the first among equals, None when nothing fits.

    A candidate without a platform is taken only when no other fits. `unknown/unknown` never fits.
    """
    order = _runnable(wanted.normalized())
    best: tuple[int, int] | None = None
    for position, candidate in enumerate(candidates):
        rank = _rank(candidate, wanted, order)
        if rank is not None and (best is None or rank < best[0]):
            best = (rank, position)
    return None if best is None else best[1]


def _rank(candidate: Platform | None, wanted: Platform, order: list[tuple[str, str | None]]) -> int | None:
    if candidate is None or (not candidate.os and not candidate.architecture):
        return len(order)
    normal = candidate.normalized()
    if normal.os != _normalized_os(wanted.os):
        return None
    if wanted.os_version and normal.os_version and not _same_build(wanted.os_version, normal.os_version):
        return None
    if not set(wanted.os_features) <= set(normal.os_features):
        return None
    key = (normal.architecture, normal.variant)
    return order.index(key) if key in order else None


def _same_build(wanted: str, offered: str) -> bool:
    """Windows images fit a host of the same major.minor.build."""
    return wanted.split(".")[:3] == offered.split(".")[:3]


def _runnable(wanted: Platform) -> list[tuple[str, str | None]]:
    """Architecture and variant pairs that `wanted` runs, best first."""
    architecture, variant = wanted.architecture, wanted.variant
    order: list[tuple[str, str | None]] = [(architecture, variant)]
    level = _level(variant)
    if architecture == "amd64":
        order += [("amd64", f"v{n}") for n in range((level or 1) - 1, 1, -1)]
        order += [("amd64", None), ("386", None)]
    elif architecture == "arm64":
        order += [("arm64", None)]
        order += [("arm", f"v{n}") for n in (8, 7, 6, 5)]
    elif architecture == "arm":
        order += [("arm", f"v{n}") for n in range((level or 7) - 1, 4, -1)]
    return list(dict.fromkeys(order))


def _level(variant: str | None) -> int | None:
    digits = (variant or "").removeprefix("v")
    return min(int(digits), 16) if digits.isascii() and digits.isdigit() and len(digits) < 3 else None


def _normalized_os(os: str) -> str:
    os = os.lower()
    return "darwin" if os == "macos" else os


def _normalized_architecture(architecture: str, variant: str) -> tuple[str, str]:
    architecture, variant = architecture.lower(), variant.lower()
    match architecture:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            return "arm64", "" if variant in {"8", "v8", "v8.0"} else variant
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            return "arm", {"": "v7", "5": "v5", "6": "v6", "7": "v7", "8": "v8"}.get(variant, variant)
        case _:
            return architecture, variant


def _invalid(text: str, reason: str) -> InvalidPlatform:
    quoted = text.encode("unicode_escape").decode("ascii")
    return InvalidPlatform(
        f'"{quoted}": {reason}: invalid argument', hint="a platform looks like linux/amd64 or linux/arm64/v8"
    )
