"""RPM's order: epoch, version and release, each by rpmvercmp (rpm: rpmio/rpmvercmp.c)."""

from __future__ import annotations

import re

_SEGMENT = re.compile(r"[0-9]+|[A-Za-z]+|~|\^")


def compare(a: str, b: str) -> int:
    """`[epoch:]version[-release]`; a missing epoch is 0, a missing release is before every other."""
    (epoch, version, release), (other_epoch, other_version, other_release) = _parts(a), _parts(b)
    found = vercmp(epoch, other_epoch) or vercmp(version, other_version)
    if found or not (release and other_release):
        return found or (release != "") - (other_release != "")
    return vercmp(release, other_release)


def _parts(text: str) -> tuple[str, str, str]:
    epoch, colon, rest = text.partition(":")
    if not colon:
        epoch, rest = "", text
    version, dash, release = rest.rpartition("-")
    if not dash:
        version, release = rest, ""
    return epoch or "0", version, release


def vercmp(a: str, b: str) -> int:
    """Of one part. `~` sorts before the end, `^` after it and before anything else, numbers above letters."""
    if a == b:
        return 0
    left, right = _SEGMENT.findall(a), _SEGMENT.findall(b)
    for one, two in zip(left, right, strict=False):
        if one == two:
            continue
        for mark, sign in (("~", -1), ("^", -1)):
            if one == mark:
                return sign
            if two == mark:
                return -sign
        if one.isdigit() != two.isdigit():
            return 1 if one.isdigit() else -1
        if one.isdigit():
            one, two = one.lstrip("0"), two.lstrip("0")
            if len(one) != len(two):
                return 1 if len(one) > len(two) else -1
        if one != two:
            return 1 if one > two else -1
    if len(left) == len(right):
        return 0
    longer = left if len(left) > len(right) else right
    following = longer[min(len(left), len(right))]
    return (-1 if following == "~" else 1) * (1 if longer is left else -1)
