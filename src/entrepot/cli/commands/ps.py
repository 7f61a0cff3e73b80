"""`entrepot ps`."""

from __future__ import annotations

from typing import Any

import click

from entrepot.cli.options import filter_option, long_format_option


@click.command("ps", short_help="List containers")
@click.option("-a", "--all", "all_containers", is_flag=True, help="Show those that do not run, too")
@filter_option("id= name= label= status= exited= ancestor= before= since= volume= network= health= is-task=")
@long_format_option()
@click.option("-n", "--last", type=int, default=-1, metavar="N", help="Show the last N that were created")
@click.option("-l", "--latest", is_flag=True, help="Show the one that was created last")
@click.option("--no-trunc", is_flag=True, help="Do not shorten")
@click.option("-q", "--quiet", is_flag=True, help="Only show IDs")
@click.option("-s", "--size", is_flag=True, help="Show how much each has written")
def ps(**said: Any) -> int:
    """List containers, the newest first."""
    from entrepot.cli.doing.ps import show_containers

    return show_containers(**said)
