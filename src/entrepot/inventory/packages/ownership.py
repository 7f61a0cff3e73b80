"""Which files of a system package could be taken for another: a wheel's metadata in a Debian package."""

from __future__ import annotations

import re

_INTERESTING = (
    r"(?:[^\n/]*+/)*+"
    r"(?:METADATA|PKG-INFO|package\.json|[^\n/]*+(?<=\.egg-info)|[^\n/]*+(?<=\.gemspec)"
    r"|[^\n/]*+(?<=\.[jw]ar)|(?<=bin/)[^\n/]++)"
)
_LINES = re.compile(rf"^/({_INTERESTING})$", re.MULTILINE)
_ONE = re.compile(_INTERESTING)


def ownable(lines: str) -> tuple[str, ...]:
    """Of absolute paths, one a line."""
    return tuple(_LINES.findall(lines))


def is_ownable(path: str) -> bool:
    """Of one path without leading `/`."""
    return _ONE.fullmatch(path) is not None
