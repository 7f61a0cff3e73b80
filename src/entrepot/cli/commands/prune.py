"""`entrepot image prune`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from entrepot.cli.confirm import confirmed
from entrepot.cli.options import open_store
from entrepot.cli.output import human_size, write

if TYPE_CHECKING:
    from entrepot.actions.rmi import Removed

DANGLING = "WARNING! This will remove all dangling images."
ALL = "WARNING! This will remove all images without at least one container associated to them."


@click.command("prune", short_help="Remove unused images")
@click.option("-a", "--all", "all_images", is_flag=True, help="Remove every image no container uses")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="until= label=")
@click.option("-f", "--force", is_flag=True, help="Do not ask")
def prune(all_images: bool, filters: tuple[str, ...], force: bool) -> None:
    """Remove images without a name, content nothing needs, and downloads that were given up."""
    from entrepot.actions.rmi import prune_images

    if not force and not confirmed(ALL if all_images else DANGLING):
        write("Total reclaimed space: 0B")
        return
    pruned = prune_images(all_images=all_images, filters=filters, store=open_store())
    print_images_pruned(pruned.removed)
    write(f"Total reclaimed space: {human_size(pruned.freed_bytes, 4)}")


def print_images_pruned(removed: Sequence[Removed]) -> None:
    """As docker has it."""
    from entrepot.cli.commands.rmi import line_of

    if removed:
        write("Deleted Images:")
        for record in removed:
            write(line_of(record, lower=True))
        write()
