"""`entrepot stats`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.container_options import complete_container
from entrepot.cli.options import long_format_option, open_store
from entrepot.cli.output import Column, Listing, human_size, is_terminal, render_listing

if TYPE_CHECKING:
    from entrepot.actions.stats import ContainerStats

LISTING = Listing(
    columns=(
        Column("ID", "CONTAINER ID"), Column("Name", "NAME"), Column("CPUPerc", "CPU %"),
        Column("MemUsage", "MEM USAGE / LIMIT"), Column("MemPerc", "MEM %"), Column("NetIO", "NET I/O"),
        Column("BlockIO", "BLOCK I/O"), Column("PIDs", "PIDS"), Column("Container", "CONTAINER"),
    ),
    shown=("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"),
    json_names=(
        "BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name", "NetIO", "PIDs",
    ),
    quiet="ID",
    kind="container.statsContext",
)  # fmt: skip
CLEAR = "\x1b[H\x1b[J"


@click.command("stats", short_help="Display resource usage of containers")
@click.argument("containers", metavar="[CONTAINER...]", nargs=-1, shell_complete=complete_container)
@click.option("-a", "--all", "all_containers", is_flag=True, help="Show those that do not run, too")
@long_format_option("'json', 'table', or a Go template such as '{{.Name}} {{.CPUPerc}}'")
@click.option("--no-stream", is_flag=True, help="Show the figures once")
@click.option("--no-trunc", is_flag=True, help="Do not shorten IDs")
def stats(
    containers: tuple[str, ...], all_containers: bool, format_: str | None, no_stream: bool, no_trunc: bool
) -> None:
    """Processor, memory, network and disk that containers take, every second until Ctrl-C."""
    from entrepot.actions.stats import container_stats

    named = containers or None
    for found in container_stats(containers, all_containers=all_containers, store=open_store()):
        rows = [_row(item, full=no_trunc, typed=named and named[at]) for at, item in enumerate(found)]
        text = render_listing(LISTING, rows, format_=format_)
        sys.stdout.write((CLEAR if is_terminal() and not no_stream else "") + text)
        sys.stdout.flush()
        if no_stream:
            return


def _row(item: ContainerStats, *, full: bool, typed: str | None) -> dict[str, Any]:
    container, usage = item.container, item.usage
    shown = container.id if full else container.id[:12]
    return {
        "ID": shown,
        "Container": typed or shown,
        "Name": container.name,
        "CPUPerc": f"{item.cpu_percent:.2f}%",
        "MemUsage": f"{binary_size(usage.memory_bytes)} / {binary_size(item.memory_limit)}",
        "MemPerc": f"{item.memory_percent:.2f}%",
        "NetIO": f"{human_size(usage.received_bytes)} / {human_size(usage.sent_bytes)}",
        "BlockIO": f"{human_size(usage.read_bytes)} / {human_size(usage.written_bytes)}",
        "PIDs": str(usage.pids),
    }


def binary_size(count: int) -> str:
    """Bytes in units of 1024 with four digits: `4.922MiB`, docker's for memory."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.4g}{unit}"
        value /= 1024
    return f"{value:.4g}TiB"
