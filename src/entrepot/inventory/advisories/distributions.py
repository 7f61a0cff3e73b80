"""Distributions' own forms: Debian's security tracker and Alpine's secdb."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from entrepot.inventory.advisories.advisory import Advisory, AffectedPackage, severity_of_word
from entrepot.inventory.advisories.ecosystems import DEBIAN_RELEASES
from entrepot.inventory.versions.ranges import AffectedRange


class _DebianRelease(msgspec.Struct):
    status: str = ""
    fixed_version: str = ""
    urgency: str = ""
    nodsa: str | None = None


class _DebianIssue(msgspec.Struct):
    description: str = ""
    releases: dict[str, _DebianRelease] = {}


DebianTracker = dict[str, dict[str, _DebianIssue]]


def debian_advisories(document: DebianTracker) -> Iterator[Advisory]:
    """Source package → issue → release. A fixed version of 0 says that the release never had it."""
    for source, issues in document.items():
        for name, issue in issues.items():
            for codename, state in issue.releases.items():
                number = DEBIAN_RELEASES.get(codename)
                if number is None or (state.status == "resolved" and state.fixed_version in ("", "0")):
                    continue
                events = [("introduced", "0")]
                if state.status == "resolved":
                    events.append(("fixed", state.fixed_version))
                note = (
                    "undetermined" if state.status == "undetermined"
                    else "unimportant" if state.urgency == "unimportant"
                    else "no-dsa" if state.nodsa is not None
                    else ""
                )  # fmt: skip
                package = AffectedPackage(
                    f"Debian:{number}",
                    source,
                    (AffectedRange(events=tuple(events)),),
                    fixed=(state.fixed_version,) if state.status == "resolved" else (),
                    note=note,
                )
                yield Advisory(
                    name,
                    (package,),
                    summary=issue.description[:300],
                    severity=severity_of_word(state.urgency),
                )


class _AlpinePackage(msgspec.Struct):
    name: str
    secfixes: dict[str, list[str]] | None = None


class _AlpineItem(msgspec.Struct):
    pkg: _AlpinePackage


class AlpineSecdb(msgspec.Struct):
    """One repository of one release."""

    distroversion: str
    packages: list[_AlpineItem] = []
    reponame: str = ""


def alpine_advisories(document: AlpineSecdb) -> Iterator[Advisory]:
    """Fixed version → issues. Version 0 says that the package never had them."""
    release = document.distroversion
    ecosystem = f"Alpine:{release if release.startswith('v') or release == 'edge' else f'v{release}'}"
    for item in document.packages:
        for version, issues in (item.pkg.secfixes or {}).items():
            if version == "0":
                continue
            within = AffectedRange(events=(("introduced", "0"), ("fixed", version)))
            for line in issues:
                names = line.split()
                if names:
                    package = AffectedPackage(ecosystem, item.pkg.name, (within,), fixed=(version,))
                    yield Advisory(names[0], (package,), aliases=tuple(names[1:]))


def looks_like_tracker(document: Any) -> bool:
    """Whether any first issue has releases."""
    if not isinstance(document, dict):
        return False
    first = next(iter(document.values()), None)
    issue = next(iter(first.values()), None) if isinstance(first, dict) else None
    return isinstance(issue, dict) and "releases" in issue
