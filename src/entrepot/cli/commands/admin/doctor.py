"""`entrepot admin doctor`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import write


@click.command("doctor", short_help="Check this installation, and say how to mend it")
@click.option(
    "--url",
    metavar="URL",
    help="Where clients reach it.  [default: server.public_url, else where it listens]",
)
@click.option("--ca", metavar="FILE", help="Authorities that clients trust, PEM.")
@click.option("--inside-only", is_flag=True, help="Ask nothing over HTTP.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def doctor(ctx: click.Context, url: str | None, ca: str | None, inside_only: bool, as_json: bool) -> None:
    """Look at directory, catalog, store and nodes, and ask the registry what each kind of client asks.

    It changes nothing but a probe of a few bytes in the store, removed at once. Exit code 1 when something
    does not work; warnings leave it at 0.
    """
    import asyncio

    from entrepot.server.compose import installation
    from entrepot.server.control.checkup import check_up

    what = installation(admin_config())
    verdicts = asyncio.run(check_up(what, url=url, ca=ca, inside_only=inside_only))
    if as_json:
        write(json.dumps([verdict.to_json() for verdict in verdicts], indent=2))
    else:
        _print(verdicts)
    ctx.exit(FAILED if any(verdict.state == "fail" for verdict in verdicts) else OK)


def _print(verdicts: Sequence[Any]) -> None:
    for verdict in verdicts:
        write(f"{verdict.state:<4}  {verdict.check}: {verdict.says}")
        if verdict.mend:
            write(f"      mend: {verdict.mend}")
    counts = [
        f"{sum(verdict.state == state for verdict in verdicts)} {word}"
        for state, word in (
            ("ok", "well"),
            ("warn", "to look at"),
            ("fail", "broken"),
            ("skip", "not found out"),
        )
    ]
    write(", ".join(counts))
