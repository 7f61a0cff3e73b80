"""Semantic versions (semver.org 2.0.0, clause 11), and what Go and npm take beside: fewer or more numbers."""

from __future__ import annotations

import re
from itertools import zip_longest

_FORM = re.compile(
    r"[vV=]{0,2}([0-9]+(?:\.[0-9]+)*)(?:-([0-9A-Za-z.-]+)|([A-Za-z][0-9A-Za-z.-]*))?(?:\+[0-9A-Za-z.+-]*)?\Z"
)
_GO = re.compile(r"(?:go)?([0-9]+(?:\.[0-9]+){0,2})(rc|beta)([0-9]+)\Z")


def compare(a: str, b: str) -> int | None:
    """Build metadata means nothing. `1.22rc1` is Go's own way to write `1.22.0-rc.1`."""
    left, right = _parse(a), _parse(b)
    if left is None or right is None:
        return None
    for one, two in zip_longest(left[0], right[0], fillvalue=0):
        if one != two:
            return -1 if one < two else 1
    return _compare_before(left[1], right[1])


def _parse(text: str) -> tuple[list[int], list[str]] | None:
    go = _GO.match(text)
    if go is not None:
        return [int(part) for part in go[1].split(".")], [go[2], go[3]]
    found = _FORM.match(text.removeprefix("go") if text.startswith("go1") else text)
    if found is None:
        return None
    before = found[2] or found[3] or ""
    return [int(part) for part in found[1].split(".")], before.split(".") if before else []


def _compare_before(left: list[str], right: list[str]) -> int:
    if not left or not right:
        return 0 if left == right else (1 if not left else -1)
    for one, two in zip(left, right, strict=False):
        if one == two:
            continue
        if one.isdigit() and two.isdigit():
            if int(one) != int(two):
                return -1 if int(one) < int(two) else 1
        elif one.isdigit() != two.isdigit():
            return -1 if one.isdigit() else 1
        else:
            return -1 if one < two else 1
    return (len(left) > len(right)) - (len(left) < len(right))
