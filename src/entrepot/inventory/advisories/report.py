"""Findings as documents for programs: our JSON, and SARIF 2.1.0 (OASIS) for code hosts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from entrepot.inventory.advisories.advisory import Severity
from entrepot.inventory.advisories.match import Finding, Findings
from entrepot.inventory.packages.osrelease import Release
from entrepot.inventory.sbom.purl import purl_of

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_LEVELS = {
    Severity.CRITICAL: "error", Severity.HIGH: "error", Severity.MEDIUM: "warning",
    Severity.UNKNOWN: "warning",
    Severity.LOW: "note", Severity.NEGLIGIBLE: "note",
}  # fmt: skip
_TYPICAL_SCORES = {Severity.CRITICAL: 9.5, Severity.HIGH: 8.0, Severity.MEDIUM: 5.5, Severity.LOW: 2.0}


def as_document(
    name: str, digest: str, layers: tuple[str, ...], release: Release, found: Findings
) -> dict[str, Any]:
    """Everything, those that a VEX document silences included."""
    return {
        "name": name,
        "digest": digest,
        "distribution": {"id": release.id, "version": release.version},
        "findings": [_finding(each, layers, release) for each in found.findings],
        "uncovered": list(found.uncovered),
    }


def _finding(each: Finding, layers: tuple[str, ...], release: Release) -> dict[str, Any]:
    package, index = each.found.package, each.found.layer
    return {
        "id": each.advisory.name,
        "advisory": each.advisory.id,
        "aliases": list(each.advisory.aliases),
        "verdict": each.verdict.value,
        "severity": each.severity.word,
        "score": each.advisory.score,
        "summary": each.advisory.summary,
        "package": package.name,
        "version": package.version,
        "purl": purl_of(package, release),
        "path": f"/{each.found.path}",
        "layer": layers[index] if index < len(layers) else None,
        "fixed": each.fixed or None,
        "note": each.note or None,
        "exploitedSince": each.exploited_since or None,
        "epss": each.likelihood,
        "silencedBy": each.statement or None,
    }


def as_sarif(name: str, release: Release, found: Iterable[Finding], tool_version: str) -> dict[str, Any]:
    """One result a finding, at the file that says the package is there. Silenced ones are `suppressions`."""
    findings = list(found)
    rules: dict[str, dict[str, Any]] = {}
    for each in findings:
        rules.setdefault(each.advisory.name, _rule(each))
    numbers = {rule: number for number, rule in enumerate(rules)}
    return {
        "$schema": _SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {"name": "entrepot", "version": tool_version, "rules": list(rules.values())}
                },
                "results": [_result(name, each, numbers, release) for each in findings],
            }
        ],
    }


def _rule(each: Finding) -> dict[str, Any]:
    score = each.advisory.score or _TYPICAL_SCORES.get(each.severity)
    rule: dict[str, Any] = {
        "id": each.advisory.name,
        "shortDescription": {"text": each.advisory.summary or each.advisory.name},
        "defaultConfiguration": {"level": _LEVELS[each.severity]},
        "properties": {"tags": ["security", each.severity.word]},
    }
    if score is not None:
        rule["properties"]["security-severity"] = f"{score:.1f}"
    return rule


def _result(name: str, each: Finding, numbers: dict[str, int], release: Release) -> dict[str, Any]:
    package = each.found.package
    certainty = "is" if each.verdict.value == "affected" else "may be"
    fix = f"fixed in {each.fixed}" if each.fixed else "no fix known"
    result: dict[str, Any] = {
        "ruleId": each.advisory.name,
        "ruleIndex": numbers[each.advisory.name],
        "level": _LEVELS[each.severity],
        "message": {"text": f"{package.name} {package.version} in {name} {certainty} affected; {fix}"},
        "locations": [
            {
                "physicalLocation": {"artifactLocation": {"uri": each.found.path}},
                "logicalLocations": [{"fullyQualifiedName": purl_of(package, release)}],
            }
        ],
    }
    if each.statement:
        result["suppressions"] = [{"kind": "external", "justification": each.statement}]
    return result
