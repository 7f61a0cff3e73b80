"""`entrepot top`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import container_argument
from entrepot.cli.options import open_store
from entrepot.cli.output import write

MIN_COLUMN = 20
"""docker's for this table."""


@click.command(
    "top",
    short_help="Display the running processes of a container",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@container_argument
@click.argument("ps_options", metavar="[ps OPTIONS]", nargs=-1, type=click.UNPROCESSED)
def top(container: str, ps_options: tuple[str, ...]) -> None:
    """The processes of a container, with their numbers on this machine. `ps OPTIONS` are those of ps."""
    from entrepot.actions.top import container_processes

    found = container_processes(container, ps_options, store=open_store())
    lines = [found.titles, *found.rows]
    widths = [
        max(MIN_COLUMN, max(len(line[at]) for line in lines if at < len(line)) + 1)
        for at in range(len(found.titles))
    ]
    for line in lines:
        cells = [cell.ljust(widths[at]) for at, cell in enumerate(line[:-1])]
        write("".join(cells) + line[-1])
