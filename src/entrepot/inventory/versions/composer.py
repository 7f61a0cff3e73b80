"""Composer's order: versions as composer/semver normalises them, then PHP's `version_compare`."""

from __future__ import annotations

import re
from functools import lru_cache

_STABILITY = (
    r"(?:[._-]?(?P<stability>stable|beta|b|rc|alpha|a|patch|pl|p)(?P<number>(?:[.-]?[0-9]+)*+)?)?"
    r"(?P<dev>[.-]?dev)?"
)
_CLASSICAL = re.compile(rf"v?(?P<numbers>[0-9]{{1,5}}(?:\.[0-9]+){{0,3}}){_STABILITY}\Z", re.IGNORECASE)
_DATE = re.compile(
    rf"v?(?P<numbers>[0-9]{{4}}(?:[.:-]?[0-9]{{2}}){{1,6}}(?:[.:-]?[0-9]{{1,3}}){{0,2}}){_STABILITY}\Z",
    re.IGNORECASE,
)
_NUMBERED_BRANCH = re.compile(r"v?([0-9]+(?:\.(?:[0-9]+|[xX*])){0,3})[.-]?dev\Z", re.IGNORECASE)
_SPELT = {
    "a": "alpha",
    "b": "beta",
    "p": "patch",
    "pl": "patch",
    "rc": "RC",
    "alpha": "alpha",
    "beta": "beta",
    "patch": "patch",
}
_FORMS = ("dev", "alpha", "a", "beta", "b", "RC", "rc", "#", "pl", "p")
_RANK = (0, 1, 1, 2, 2, 3, 3, 4, 5, 5)
_NUMBER = "#N#"
_BOUNDARY = re.compile(r"(?<=[0-9])(?=[^0-9.])|(?<=[^0-9.])(?=[0-9])")


def is_numbered(version: str) -> bool:
    """Whether Composer takes it for a release, or for a branch that has a number."""
    found = normalised(version)
    return found is not None and not found.startswith("dev-")


def compare(a: str, b: str) -> int | None:
    """What Composer refuses is compared as PHP would if it has numbers; two named branches never are."""
    left, right = normalised(a) or _numbers_of(a), normalised(b) or _numbers_of(b)
    if left is None or right is None:
        return None
    if left.startswith("dev-") and right.startswith("dev-"):
        return 0 if left == right else None
    return php_compare(left, right)


def _numbers_of(version: str) -> str | None:
    text = version.lstrip("vV")
    return text if text[:1].isdigit() else None


@lru_cache(maxsize=16_384)
def normalised(version: str) -> str | None:
    """composer/semver: VersionParser::normalize; None when that refuses it."""
    text = version.strip().partition("@")[0]
    if text.lower().startswith("dev-"):
        return f"dev-{text[4:]}"
    text = text.partition("+")[0]
    found = _CLASSICAL.match(text)
    if found is not None:
        numbers = found["numbers"].split(".")
        result = ".".join(numbers + ["0"] * (4 - len(numbers)))
    else:
        found = _DATE.match(text)
        if found is None:
            return _branch(text)
        result = re.sub(r"[^0-9]", ".", found["numbers"])
    stability = (found["stability"] or "").lower()
    if stability == "stable":
        return result
    if stability:
        result += f"-{_SPELT[stability]}{(found['number'] or '').lstrip('.-')}"
    return f"{result}-dev" if found["dev"] else result


def _branch(text: str) -> str | None:
    """VersionParser::normalizeBranch: `1.x-dev` is after every release that begins with 1."""
    found = _NUMBERED_BRANCH.match(text)
    if found is None:
        return None
    parts = [part if part.isdigit() else "9999999" for part in found[1].split(".")]
    return ".".join(parts + ["9999999"] * (4 - len(parts))) + "-dev"


def php_compare(a: str, b: str) -> int:
    """PHP: ext/standard/versioning.c."""
    left, right = _canonical(a), _canonical(b)
    for one, two in zip(left, right, strict=False):
        if one.isdigit() and two.isdigit():
            found = (int(one) > int(two)) - (int(one) < int(two))
        else:
            found = _special(_NUMBER if one.isdigit() else one, _NUMBER if two.isdigit() else two)
        if found:
            return found
    if len(left) == len(right):
        return 0
    longer, sign = (left, 1) if len(left) > len(right) else (right, -1)
    following = longer[min(len(left), len(right))]
    return sign if following.isdigit() else sign * _special(following, _NUMBER)


def _canonical(text: str) -> list[str]:
    return [part for part in _BOUNDARY.sub(".", re.sub(r"[-_+]", ".", text)).split(".") if part]


def _special(one: str, two: str) -> int:
    left, right = _rank(one), _rank(two)
    return (left > right) - (left < right)


def _rank(word: str) -> int:
    return next((rank for form, rank in zip(_FORMS, _RANK, strict=True) if word.startswith(form)), -1)
