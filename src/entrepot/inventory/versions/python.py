"""PEP 440; versions from before it sort as setuptools sorted them then: all before the first proper one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_COMPONENT = re.compile(r"([0-9]+|[a-z]+|\.|-)")
_REPLACED = {"pre": "c", "preview": "c", "-": "final-", "rc": "c", "dev": "@"}


def is_pep440(version: str) -> bool:
    return _proper(version) is not None


def compare(a: str, b: str) -> int:
    left, right = _proper(a), _proper(b)
    if left is not None and right is not None:
        return 0 if left == right else -1 if left < right else 1
    if left is not None or right is not None:
        return 1 if left is not None else -1
    one, two = _legacy(a), _legacy(b)
    return (one > two) - (one < two)


@lru_cache(maxsize=16_384)
def _proper(version: str) -> Any | None:
    from packaging.version import InvalidVersion, Version

    try:
        return Version(version)
    except (InvalidVersion, ValueError):
        return None


def _legacy(version: str) -> list[str]:
    parts: list[str] = []
    for part in _legacy_parts(version.lower()):
        if part.startswith("*"):
            if part < "*final":
                while parts and parts[-1] == "*final-":
                    parts.pop()
            while parts and parts[-1] == "00000000":
                parts.pop()
        parts.append(part)
    return parts


def _legacy_parts(version: str) -> Iterator[str]:
    for piece in _COMPONENT.split(version):
        part = _REPLACED.get(piece, piece)
        if part and part != ".":
            yield part.zfill(8) if part[0].isdigit() else f"*{part}"
    yield "*final"
