"""Tags that are versions, for "the newest of each minor". Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

__all__ = ["ReleaseVersion", "parse_version"]

# Docker's tags have no `+`: build metadata stands behind `_`, as Helm writes it.
_VERSION: Final = re.compile(
    r"[vV]?(0|[1-9][0-9]{0,8})(?:\.(0|[1-9][0-9]{0,8}))?(?:\.(0|[1-9][0-9]{0,8}))?"
    r"(?:-([0-9A-Za-z.-]+))?(?:[_+]([0-9A-Za-z._-]+))?"
)


@dataclass(frozen=True, slots=True)
class ReleaseVersion:
    """A semantic version, or a shorter name of a line of them (`v1.2`, `v1`)."""

    major: int
    minor: int | None
    patch: int | None
    order: tuple[int, tuple[int, tuple[tuple[int, int, str], ...]], str]
    """Inside of its minor: by patch, before-releases before releases, then by build."""

    @property
    def is_line(self) -> bool:
        return self.patch is None


def parse_version(tag: str) -> ReleaseVersion | None:
    """None: it is none."""
    found = _VERSION.fullmatch(tag)
    if found is None:
        return None
    major, minor, patch, before, build = found.groups()
    if (before or build) and patch is None:
        return None
    rank: tuple[int, tuple[tuple[int, int, str], ...]] = (1, ())
    if before:
        parts = before.split(".")
        rank = (0, tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in parts))
    return ReleaseVersion(
        int(major),
        None if minor is None else int(minor),
        None if patch is None else int(patch),
        (int(patch or 0), rank, build or ""),
    )
