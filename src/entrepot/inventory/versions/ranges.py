"""Whether a version is in a range of an advisory (OSV schema: Evaluation)."""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from entrepot.inventory.versions.order import compare, is_readable


class Verdict(Enum):
    """What can be said of a version."""

    AFFECTED = "affected"
    NOT_AFFECTED = "not affected"
    UNKNOWN = "unknown"


class AffectedRange(Struct, frozen=True):
    """What an advisory says of one package: single versions, and spans between events."""

    versions: frozenset[str] = frozenset()
    """Affected whatever the events say."""
    events: tuple[tuple[str, str], ...] = ()
    """(`introduced` | `fixed` | `last_affected` | `limit`, version); `introduced` at `0` is the beginning."""


def affected(ecosystem: str, version: str, within: AffectedRange) -> Verdict:
    """UNKNOWN when the version, or an event that decides, cannot be read; raises nothing."""
    if version in within.versions:
        return Verdict.AFFECTED
    if not within.events:
        # Only a list, and the version is not on it; a word like `latest` could still be one of them.
        return Verdict.NOT_AFFECTED if is_readable(ecosystem, version) else Verdict.UNKNOWN
    if all(event == ("introduced", "0") for event in within.events):
        return Verdict.AFFECTED  # every version there is
    if not is_readable(ecosystem, version):
        return Verdict.UNKNOWN
    limits = [compare(ecosystem, version, at) for kind, at in within.events if kind == "limit" and at != "*"]
    if limits and all(found is not None and found >= 0 for found in limits):
        return Verdict.NOT_AFFECTED
    if None in limits and not any(found is not None and found < 0 for found in limits):
        return Verdict.UNKNOWN
    return _by_events(ecosystem, version, within.events)


def _by_events(ecosystem: str, version: str, events: tuple[tuple[str, str], ...]) -> Verdict:
    """The last event at or before the version decides, so only the nearest of each kind has to be found."""
    latest: str | None = None  # the event's version that is nearest below, "" for the beginning
    inside = False
    for kind, at in events:
        if kind == "limit":
            continue
        if kind == "introduced" and at == "0":
            place: int | None = 1
        else:
            place = compare(ecosystem, version, at) if is_readable(ecosystem, at) else None
        if place is None:
            return Verdict.UNKNOWN
        reached = place > 0 if kind == "last_affected" else place >= 0
        if not reached:
            continue
        text = "" if kind == "introduced" and at == "0" else at
        nearer = latest is None or (
            text != "" and (latest == "" or (compare(ecosystem, text, latest) or 0) >= 0)
        )
        if nearer:
            latest, inside = text, kind == "introduced"
    return Verdict.AFFECTED if inside else Verdict.NOT_AFFECTED
