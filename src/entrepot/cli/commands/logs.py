"""`entrepot logs`."""

from __future__ import annotations

import sys

import click

from entrepot.cli.container_options import container_argument
from entrepot.cli.options import open_store
from entrepot.cli.output import utc_now


@click.command("logs", short_help="Fetch the logs of a container")
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends")
@click.option("-n", "--tail", metavar="N", default="all", show_default=True, help="Only the last N lines")
@click.option("-t", "--timestamps", is_flag=True, help="Show when each line was written")
@click.option("--since", metavar="TIME", help="Only what is later: a time, or 10m for ten minutes ago")
@click.option("--until", metavar="TIME", help="Only what is earlier")
@click.option("--details", is_flag=True, hidden=True)
@container_argument
def logs(
    container: str,
    follow: bool,
    tail: str,
    timestamps: bool,
    since: str | None,
    until: str | None,
    details: bool,
) -> None:
    """Print what a container has written, to stdout and stderr as it was."""
    from entrepot.actions.logs import container_logs, parse_moment

    now = utc_now()
    records = container_logs(
        container,
        follow=follow,
        tail=int(tail) if tail.isdigit() else None,
        since=parse_moment(since, now) if since else None,
        until=parse_moment(until, now) if until else None,
        store=open_store(),
    )
    for record in records:
        stream = sys.stdout if record.stream == "stdout" else sys.stderr
        prefix = (f"{record.time} " if timestamps else "") + (" " if details else "")  # there are none
        stream.write(prefix + record.log)
        stream.flush()
