"""`entrepot container prune`."""

from __future__ import annotations

import click

from entrepot.cli.confirm import confirmed
from entrepot.cli.container_options import container_store
from entrepot.cli.output import human_size, write

WARNING = "WARNING! This will remove all stopped containers."


@click.command("prune", short_help="Remove all stopped containers")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="until= label=")
@click.option("-f", "--force", is_flag=True, help="Do not ask")
def container_prune(filters: tuple[str, ...], force: bool) -> None:
    """Remove every container that does not run, with what it changed; volumes stay."""
    from entrepot.actions.prune_containers import prune_containers

    if not force and not confirmed(WARNING):
        write("Total reclaimed space: 0B")
        return
    pruned = prune_containers(filters=filters, store=container_store())
    print_containers_pruned(pruned.removed)
    write(f"Total reclaimed space: {human_size(pruned.freed_bytes, 4)}")


def print_containers_pruned(removed: tuple[str, ...]) -> None:
    """As docker has it."""
    if removed:
        write("Deleted Containers:")
        for container_id in removed:
            write(container_id)
        write()
