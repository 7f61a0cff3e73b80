"""`entrepot port`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import container_argument
from entrepot.cli.options import open_store
from entrepot.cli.output import write


@click.command("port", short_help="List port mappings or a specific mapping for the container")
@container_argument
@click.argument("port", metavar="[PRIVATE_PORT[/PROTO]]", required=False)
def port(container: str, port: str | None) -> None:
    """Which ports of a container are reached from outside, and where."""
    from entrepot.actions.container_inspect import inspect_container
    from entrepot.errors import NotFound

    published = inspect_container(container, store=open_store())["NetworkSettings"]["Ports"] or {}
    if port is None:
        for inside in sorted(published):
            for place in published[inside] or ():
                write(f"{inside} -> {_place(place)}")
        return
    wanted = port if "/" in port else f"{port}/tcp"
    places = published.get(wanted) or ()
    if not places:
        raise NotFound(f"No public port '{wanted}' published for {container}")
    for place in places:
        write(_place(place))


def _place(place: dict[str, str]) -> str:
    address = place["HostIp"]
    return f"[{address}]:{place['HostPort']}" if ":" in address else f"{address}:{place['HostPort']}"
