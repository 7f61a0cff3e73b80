"""`entrepot admin jobs`."""

from __future__ import annotations

from typing import Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import moment, print_rows
from entrepot.cli.options import format_option


@click.command("jobs", short_help="Background jobs: how often, how they went, and one at once")
@click.option("--run", "kind", metavar="JOB", help="Let this job run soon, where a process takes jobs.")
@format_option()
def jobs(kind: str | None, format_: str | None) -> None:
    """List the kinds of background jobs: what they do, how often, how the last run went, when the next is."""
    from entrepot.server.control.jobs import list_job_rounds, run_job

    if kind is not None:
        is_new = as_operator(lambda services, actor: run_job(services, actor, kind), with_accounts=False)
        click.echo(f"{kind} will run" if is_new else f"{kind} is waiting already")
        return
    rounds = as_operator(list_job_rounds, with_accounts=False)
    print_rows(("job", "does", "how_often", "last", "next"), [_row(one) for one in rounds], format_)


def _row(one: Any) -> dict[str, Any]:
    last = f"{one.last.state} {moment(one.last.finished_at)}" if one.last else None
    due = moment(one.next.run_at) if one.next else None
    return {
        "job": one.kind.name,
        "does": one.kind.words,
        "how_often": one.kind.how_often.replace("`", ""),
        "last": last,
        "next": "running" if one.next and one.next.state == "running" else due,
    }
