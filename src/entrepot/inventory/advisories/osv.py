"""OSV records (ossf.github.io/osv-schema), GitHub's advisories among them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from entrepot.inventory.advisories.advisory import (
    Advisory,
    AffectedPackage,
    Severity,
    severity_of_score,
    severity_of_word,
)
from entrepot.inventory.advisories.ecosystems import filed_ecosystem, filed_name
from entrepot.inventory.versions.ranges import AffectedRange

_EVENTS = ("introduced", "fixed", "last_affected", "limit")
_MAX_VECTOR = 300


class _Package(msgspec.Struct):
    ecosystem: str = ""
    name: str = ""


class _Range(msgspec.Struct):
    type: str = ""
    events: list[dict[str, str]] = []


class _Severity(msgspec.Struct):
    type: str = ""
    score: str = ""


class _Affected(msgspec.Struct):
    package: _Package | None = None
    ranges: list[_Range] | None = None
    versions: list[str] | None = None
    severity: list[_Severity] | None = None
    ecosystem_specific: dict[str, Any] | None = None
    database_specific: dict[str, Any] | None = None


class OsvRecord(msgspec.Struct):
    """What is used of a record."""

    id: str
    withdrawn: str | None = None
    aliases: list[str] | None = None
    upstream: list[str] | None = None
    summary: str | None = None
    details: str | None = None
    affected: list[_Affected] | None = None
    severity: list[_Severity] | None = None
    database_specific: dict[str, Any] | None = None


decoder = msgspec.json.Decoder(OsvRecord)


def advisory_of(record: OsvRecord) -> Advisory | None:
    """None when it was withdrawn or is about no package that has versions (only about commits)."""
    if record.withdrawn:
        return None
    packages = tuple(package for item in record.affected or () if (package := _affected(item)) is not None)
    if not packages:
        return None
    severity, score = _severity(record)
    text = record.summary or (record.details or "").strip().partition("\n")[0]
    return Advisory(
        record.id,
        packages,
        aliases=tuple(dict.fromkeys((*(record.aliases or ()), *(record.upstream or ())))),
        summary=text[:300],
        severity=severity,
        score=score,
    )


def _affected(item: _Affected) -> AffectedPackage | None:
    if item.package is None or not item.package.ecosystem or not item.package.name:
        return None
    versions = frozenset(item.versions or ())
    spans = [
        tuple((kind, event[kind]) for event in found.events for kind in _EVENTS if kind in event)
        for found in item.ranges or ()
        if found.type != "GIT"
    ]
    spans = [span for span in spans if span]
    if not spans and not versions:
        return None
    ranges = [AffectedRange(events=span) for span in spans]
    if versions:
        ranges = [AffectedRange(versions, spans[0] if spans else ()), *ranges[1:]]
    ecosystem = filed_ecosystem(item.package.ecosystem)
    fixed = dict.fromkeys(at for span in spans for kind, at in span if kind == "fixed")
    urgency = (item.ecosystem_specific or {}).get("urgency")
    return AffectedPackage(
        ecosystem,
        filed_name(ecosystem, item.package.name),
        tuple(ranges),
        fixed=tuple(fixed),
        note="unimportant" if urgency == "unimportant" else "",
    )


def _severity(record: OsvRecord) -> tuple[Severity, float | None]:
    """The database's own word first, since GitHub reviews it; else the highest CVSS score there is."""
    given = list(record.severity or ())
    for item in record.affected or ():
        given.extend(item.severity or ())
    scores = [score for one in given if (score := score_of(one.score)) is not None]
    score = max(scores, default=None)
    places: list[Mapping[str, Any]] = [record.database_specific or {}]
    places += [
        place
        for item in record.affected or ()
        for place in (item.database_specific, item.ecosystem_specific)
        if place
    ]
    for place in places:
        for key in ("severity", "urgency"):
            word = severity_of_word(place.get(key))
            if word is not Severity.UNKNOWN:
                return word, score
    for one in given:  # Ubuntu writes the word where the vector stands elsewhere
        word = severity_of_word(one.score)
        if word is not Severity.UNKNOWN:
            return word, score
    return (severity_of_score(score), score) if score is not None else (Severity.UNKNOWN, None)


_NUMBER = re.compile(r"[0-9]{1,2}(?:\.[0-9]{1,2})?\Z")


def score_of(vector: str) -> float | None:
    """Of a CVSS vector, version 2 to 4, or of a bare number; None for anything else."""
    if _NUMBER.match(vector):
        return float(vector)
    if len(vector) > _MAX_VECTOR:
        return None
    from cvss import CVSS2, CVSS3, CVSS4, CVSSError

    kind = CVSS4 if vector.startswith("CVSS:4") else CVSS3 if vector.startswith("CVSS:3") else CVSS2
    try:
        found = kind(vector)
    except (CVSSError, ValueError, KeyError, ArithmeticError):
        return None
    return float(found.base_score)
