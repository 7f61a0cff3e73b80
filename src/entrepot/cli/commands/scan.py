"""`entrepot scan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from entrepot.cli.commands.sbom import layer_name, report_problems
from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store, platform_option
from entrepot.cli.output import indented_json, print_error, table, write

if TYPE_CHECKING:
    from entrepot.actions.scan import Scanned
    from entrepot.inventory.advisories.match import Finding

SEVERITIES = ("negligible", "low", "medium", "high", "critical")
FOUND = 2
"""Exit code: something of the severity asked for, or worse, was found. 1 is that the scan itself failed."""
_PATHS = click.Path(path_type=Path)


@click.command("scan", short_help="Show what is known against the packages in an image")
@click.argument("target", metavar="IMAGE|DIR|ARCHIVE", shell_complete=complete_image)
@click.option("--advisories", type=_PATHS, multiple=True, required=True, metavar="PATH",
              help="File or folder of advisories; again for more")  # fmt: skip
@click.option("--format", "format_", type=click.Choice(("table", "json", "sarif")), default="table",
              show_default=True, help="Form of the answer")  # fmt: skip
@click.option("--fail-on", type=click.Choice(SEVERITIES), metavar="SEVERITY",
              help=f"Exit with {FOUND} when there is anything as bad: {', '.join(SEVERITIES)}")  # fmt: skip
@click.option("--vex", type=_PATHS, multiple=True, metavar="FILE",
              help="OpenVEX document that says what is no finding; again for more")  # fmt: skip
@platform_option("Which image of several, as in linux/arm64")
@click.pass_context
def scan(
    ctx: click.Context,
    target: str,
    advisories: tuple[Path, ...],
    format_: str,
    fail_on: str | None,
    vex: tuple[Path, ...],
    platform: str | None,
) -> None:
    """Show what advisories say about the packages in an image, an archive of one or a folder.

    Nothing is fetched: advisories come from files.
    """
    from entrepot.actions.scan import scan as look

    found = look(target, advisories=advisories, vex=vex, platform=platform, store=open_store())
    if format_ == "table":
        _print_table(found)
    else:
        _print_document(found, format_)
    report_problems(found.subject)
    for name in found.result.uncovered:
        print_error(
            f"Warning: no advisories were given for {name}; nothing can be said of what is there of it"
        )
    if fail_on is not None and _reaches(found.result.findings, fail_on):
        ctx.exit(FOUND)


def _reaches(findings: tuple[Finding, ...], severity: str) -> bool:
    from entrepot.inventory.advisories.advisory import Severity

    least = Severity[severity.upper()]
    return any(each.counts and each.severity >= least for each in findings)


def _print_table(found: Scanned) -> None:
    shown = [each for each in found.result.findings if not each.statement]
    rows = [
        [
            each.advisory.name,
            each.severity.word + ("" if each.verdict.value == "affected" else "?"),
            each.found.package.name,
            each.found.package.version,
            each.fixed or each.note or "none yet",
            layer_name(found.subject.layers, each.found.layer),
            _exploited(each),
        ]
        for each in shown
    ]
    if rows:
        headings = ["ADVISORY", "SEVERITY", "PACKAGE", "VERSION", "FIXED IN", "LAYER", "EXPLOITED"]
        write(table(headings, rows).rstrip("\n"))
    unknown = sum(1 for each in shown if each.verdict.value == "unknown")
    silenced = len(found.result.findings) - len(shown)
    parts = [f"{len(shown) - unknown} found in {len(found.subject.inventory.packages)} packages"]
    if unknown:
        parts.append(f"{unknown} that cannot be told (marked ?)")
    if silenced:
        parts.append(f"{silenced} silenced by VEX")
    write(", ".join(parts))


def _exploited(each: Finding) -> str:
    if each.exploited_since:
        return f"since {each.exploited_since}"
    return f"{each.likelihood:.1%} likely" if each.likelihood is not None else ""


def _print_document(found: Scanned, format_: str) -> None:
    from entrepot import __version__
    from entrepot.inventory.advisories.report import as_document, as_sarif

    subject, result = found.subject, found.result
    release = subject.inventory.release
    write(
        indented_json(
            as_document(subject.name, subject.digest, subject.layers, release, result)
            if format_ == "json"
            else as_sarif(subject.name, release, result.findings, __version__)
        )
    )
