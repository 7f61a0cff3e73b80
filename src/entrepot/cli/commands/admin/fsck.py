"""`entrepot admin fsck`."""

from __future__ import annotations

import json
from typing import Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import human_size, write


@click.command("fsck", short_help="Check that catalog and blobs belong together")
@click.option("--deep", is_flag=True, help="Read every byte of every blob.")
@click.option(
    "--repair",
    is_flag=True,
    help="Bring lost blobs back from a repair source, or take them out of service until a push does; "
    "remove orphans.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def fsck(ctx: click.Context, deep: bool, repair: bool, as_json: bool) -> None:
    """Compare catalog and store both ways. Exit code 0: nothing is wrong, or all of it was mended.

    It may run beside a serving registry.
    """
    from entrepot.server.control.upkeep import check_everything

    found = as_operator(
        lambda services, actor: check_everything(services, actor, deep=deep, repair=repair),
        with_accounts=False,
    )
    report = found.to_json()
    if as_json:
        write(json.dumps(report, indent=2))
    else:
        _print(report)
    ctx.exit(OK if report["ok"] else FAILED)


def _print(report: dict[str, Any]) -> None:
    for finding in report["findings"]:
        write(f"{finding['kind']}: {finding['subject']}: {finding['detail']}")
        if finding["tags"]:
            write(f"  can't be pulled: {', '.join(finding['tags'])}")
        if finding["repaired"]:
            write(f"  {finding['repaired']}")
    checked = report["checked"]
    looked = (
        f"{checked['blobs']} blobs, {checked['manifests']} manifests, {checked['objects']} stored objects"
    )
    found = f"{len(report['findings'])} findings" if report["findings"] else "nothing is wrong"
    write(f"checked {looked}: {found}")
    pending = report["pending"]
    if pending["objects"]:
        write(
            f"{pending['objects']} young objects ({human_size(pending['bytes'])}) have no row yet; "
            "leftovers among them are removed when the undo window is over"
        )
