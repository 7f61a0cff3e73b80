"""`entrepot admin scrub`."""

from __future__ import annotations

import json

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import human_size, write


@click.command("scrub", short_help="Read every blob back and find damaged ones")
@click.option(
    "--budget", metavar="SIZE", help="Read so much at most, and go on where the last such run ended."
)
@click.option("--rate", metavar="SIZE", help="Read so much a second at most.  [default: scrub.rate]")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.pass_context
def scrub(ctx: click.Context, budget: str | None, rate: str | None, as_json: bool) -> None:
    """Read blobs back and compare them with their digests.

    A damaged blob is brought back from a repair source (`[repair]`). Where there is none it answers 404, so
    that the next push of the image brings it back. Exit code 1 when one stays lost. `entrepot serve` does
    this by itself, within `scrub.run_bytes`.
    """
    from entrepot.server.config.model import Bytes
    from entrepot.server.config.values import convert
    from entrepot.server.control.upkeep import read_back

    def size(text: str | None) -> int | None:
        return None if text is None else int(convert(text, Bytes, from_text=True))

    most, pace = size(budget), size(rate)
    done = as_operator(
        lambda services, actor: read_back(services, actor, budget_bytes=most, bytes_per_s=pace),
        with_accounts=False,
    )
    report = done.to_json()
    if as_json:
        write(json.dumps(report, indent=2))
    else:
        for damage in report["damaged"]:
            write(f"{damage['digest']}: {damage['reason']}")
            if damage["tags"] and damage["repaired_from"] is None:
                write(f"  can't be pulled until it is pushed again: {', '.join(damage['tags'])}")
        for digest, source in report["repaired"].items():
            write(f"{digest}: brought back from {source}")
        for digest, reason in report["unread"].items():
            write(f"{digest}: not read this time: {reason}")
        found = f"{len(report['damaged'])} damaged" if report["damaged"] else "all as they should be"
        write(f"read {report['blobs']} blobs, {human_size(report['bytes'])}: {found}")
        if not report["complete"]:
            write("the budget is used up; the next run goes on from here")
        if report["lost"]:
            write(f"{report['lost']} blobs that images need are lost; entrepot admin fsck names the tags")
    unmended = any(damage["repaired_from"] is None for damage in report["damaged"])
    ctx.exit(FAILED if report["lost"] or unmended else OK)
