"""`entrepot system df` and `entrepot system prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.confirm import confirmed
from entrepot.cli.container_options import container_store
from entrepot.cli.options import long_format_option
from entrepot.cli.output import Column, Listing, human_size, print_listing, write

if TYPE_CHECKING:
    from entrepot.actions.disk_usage import DiskUse

LISTING = Listing(
    columns=(
        Column("Type", "TYPE"), Column("TotalCount", "TOTAL"), Column("Active", "ACTIVE"),
        Column("Size", "SIZE"), Column("Reclaimable", "RECLAIMABLE"),
    ),
    shown=("Type", "TotalCount", "Active", "Size", "Reclaimable"),
    json_names=("Active", "Reclaimable", "Size", "TotalCount", "Type"),
    quiet="Type",
    kind="formatter.diskUsageContext",
)  # fmt: skip


@click.command("df", short_help="Show what images, containers and volumes take")
@long_format_option("'json', 'table', or a Go template such as '{{.Type}} {{.Size}}'")
def df(format_: str | None) -> None:
    """What images, containers and volumes take on disk, and how much of that nothing needs."""
    from entrepot.actions.disk_usage import disk_usage

    print_listing(LISTING, [_row(use) for use in disk_usage(store=container_store())], format_=format_)


def _row(use: DiskUse) -> dict[str, Any]:
    share = f" ({use.reclaimable * 100 // use.size}%)" if use.size else ""
    return {
        "Type": use.kind,
        "TotalCount": str(use.total),
        "Active": str(use.active),
        "Size": human_size(use.size, 4),
        "Reclaimable": human_size(use.reclaimable, 4) + share,
    }


@click.command("prune", short_help="Remove unused data")
@click.option("-a", "--all", "all_images", is_flag=True, help="Remove every image no container uses")
@click.option("--volumes", is_flag=True, help="Remove volumes that nobody named, too")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="until= label=")
@click.option("-f", "--force", is_flag=True, help="Do not ask")
def prune(all_images: bool, volumes: bool, filters: tuple[str, ...], force: bool) -> None:
    """Remove stopped containers, images nothing needs and, with --volumes, volumes nobody named."""
    from entrepot.actions.prune_containers import prune_containers
    from entrepot.actions.rmi import prune_images
    from entrepot.actions.volumes import prune_volumes
    from entrepot.cli.commands.container_prune import print_containers_pruned
    from entrepot.cli.commands.prune import print_images_pruned
    from entrepot.cli.commands.volume import print_volumes_pruned

    if volumes and any(text.startswith("until=") for text in filters):
        raise click.UsageError('The "until" filter is not supported with "--volumes"')
    if not force and not confirmed(_warning(all_images, volumes)):
        return
    store = container_store()
    containers = prune_containers(filters=filters, store=store)
    print_containers_pruned(containers.removed)
    freed = containers.freed_bytes
    if volumes:
        pruned_volumes = prune_volumes(filters=filters, store=store)
        print_volumes_pruned(pruned_volumes.removed)
        freed += pruned_volumes.freed_bytes
    images = prune_images(all_images=all_images, filters=filters, store=store)
    print_images_pruned(images.removed)
    write(f"Total reclaimed space: {human_size(freed + images.freed_bytes, 4)}")


def _warning(all_images: bool, volumes: bool) -> str:
    lines = ["WARNING! This will remove:", "  - all stopped containers"]
    if volumes:
        lines.append("  - all anonymous volumes not used by at least one container")
    images = (
        "all images without at least one container associated to them"
        if all_images
        else "all dangling images"
    )
    return "\n".join([*lines, f"  - {images}", ""])
