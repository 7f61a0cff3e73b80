"""An inventory held against a database of advisories."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from entrepot.inventory.advisories.advisory import Advisory, AffectedPackage, Severity
from entrepot.inventory.advisories.database import AdvisoryDatabase
from entrepot.inventory.advisories.ecosystems import ecosystem_of, names_of
from entrepot.inventory.advisories.vex import SILENCING, VexStatement, statement_on
from entrepot.inventory.packages.merge import FoundPackage, Inventory
from entrepot.inventory.packages.package import Ecosystem
from entrepot.inventory.sbom.purl import purl_of
from entrepot.inventory.versions.order import compare
from entrepot.inventory.versions.ranges import Verdict, affected

NAMELESS = "Java archives that do not say their group"
"""Advisories go by group and artifact; such an archive has only a file name."""


class Finding(Struct, frozen=True):
    """One advisory that is, or may be, about one package."""

    found: FoundPackage
    """Where it is; of several places, the first."""
    advisory: Advisory
    verdict: Verdict
    """AFFECTED or UNKNOWN."""
    severity: Severity
    fixed: str = ""
    """The first version above that has it fixed; empty when there is none yet."""
    note: str = ""
    """`no-dsa`, `unimportant`, `undetermined`."""
    exploited_since: str = ""
    likelihood: float | None = None
    statement: str = ""
    """Why a VEX document says it is none; such findings count for nothing."""

    @property
    def counts(self) -> bool:
        return self.verdict is Verdict.AFFECTED and not self.statement


class Findings(Struct, frozen=True):
    """All of an inventory."""

    findings: tuple[Finding, ...]
    """The worst first."""
    uncovered: tuple[str, ...] = ()
    """Ecosystems with packages here for which no advisory was given: nothing is known of them."""


def match(
    inventory: Inventory,
    database: AdvisoryDatabase,
    *,
    vex: Sequence[VexStatement] = (),
    image: Sequence[str] = (),
) -> Findings:
    """`image` holds the names and digests that VEX documents may mean.

    What a system package brought is the distribution's to judge: its wheels and gems are not looked up by
    their own ecosystem, whose version says nothing of patches.
    """
    found: dict[tuple[object, ...], Finding] = {}
    silent: dict[str, bool] = {}
    for each in inventory.packages:
        if each.owner and not each.package.ecosystem.is_system:
            continue
        if each.package.ecosystem is Ecosystem.MAVEN and not each.package.group:
            silent[NAMELESS] = True
            continue
        ecosystem = ecosystem_of(each.package, inventory.release)
        named = ecosystem or f"{inventory.release.pretty or inventory.release.id or 'unnamed distribution'}"
        if named not in silent:
            silent[named] = not ecosystem or not database.covers(ecosystem)
        if silent[named]:
            continue
        for name, version in names_of(each.package, ecosystem):
            for advisory, package in database.about(ecosystem, name):
                finding = _judged(each, version, advisory, package, ecosystem)
                if finding is not None:
                    key = (*each.package.key, advisory.name)
                    found[key] = _better(found.get(key), finding)
    enriched = [_enriched(each, inventory, database, vex, image) for each in found.values()]
    enriched.sort(
        key=lambda each: (not each.counts, -each.severity, each.found.package.name, each.advisory.name)
    )
    return Findings(tuple(enriched), tuple(sorted(name for name, is_silent in silent.items() if is_silent)))


def _judged(
    found: FoundPackage, version: str, advisory: Advisory, package: AffectedPackage, ecosystem: str
) -> Finding | None:
    verdicts = {affected(ecosystem, version, within) for within in package.ranges}
    if Verdict.AFFECTED in verdicts:
        verdict = Verdict.UNKNOWN if package.note == "undetermined" else Verdict.AFFECTED
    elif Verdict.UNKNOWN in verdicts:
        verdict = Verdict.UNKNOWN
    else:
        return None
    severity = Severity.NEGLIGIBLE if package.note == "unimportant" else advisory.severity
    return Finding(
        found, advisory, verdict, severity, _first_fix(ecosystem, version, package.fixed), package.note
    )


def _first_fix(ecosystem: str, version: str, fixed: Sequence[str]) -> str:
    best = ""
    for each in fixed:
        if compare(ecosystem, each, version) == 1 and (not best or compare(ecosystem, each, best) == -1):
            best = each
    return best or (fixed[-1] if fixed and compare(ecosystem, fixed[-1], version) is None else "")


def _better(known: Finding | None, other: Finding) -> Finding:
    """Of two records of one vulnerability: certainty, then a fix, then a severity; the severity of either."""
    if known is None:
        return other

    def rank(each: Finding) -> tuple[bool, bool, bool]:
        return each.verdict is Verdict.AFFECTED, bool(each.note), bool(each.fixed)

    best, rest = (other, known) if rank(other) > rank(known) else (known, other)
    if best.severity is Severity.UNKNOWN:
        return _with(best, severity=rest.severity)
    return best


def _with(finding: Finding, **changes: object) -> Finding:
    from msgspec.structs import replace

    return replace(finding, **changes)


def _enriched(
    finding: Finding,
    inventory: Inventory,
    database: AdvisoryDatabase,
    vex: Sequence[VexStatement],
    image: Sequence[str],
) -> Finding:
    cves = finding.advisory.cves
    statement = None
    if vex:
        names = (finding.advisory.id, *finding.advisory.aliases, *cves)
        statement = statement_on(vex, names, purl_of(finding.found.package, inventory.release), image)
    reason = ""
    if statement is not None and statement.status in SILENCING:
        reason = statement.justification or statement.impact_statement or statement.status
    return _with(
        finding,
        exploited_since=database.exploited_since(cves),
        likelihood=database.likelihood(cves),
        statement=reason,
    )
