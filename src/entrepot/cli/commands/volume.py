"""`entrepot volume`: what outlives containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from entrepot.cli import exitcodes
from entrepot.cli.confirm import confirmed
from entrepot.cli.container_options import container_store
from entrepot.cli.options import filter_option, format_option, long_format_option, open_store
from entrepot.cli.output import Column, Listing, human_size, print_error, print_listing, write

if TYPE_CHECKING:
    from entrepot.actions.volumes import Volume

LISTING = Listing(
    columns=(
        Column("Driver", "DRIVER"), Column("Name", "VOLUME NAME"), Column("Scope", "SCOPE"),
        Column("Mountpoint", "MOUNTPOINT"), Column("Labels", "LABELS"), Column("Links", "LINKS"),
        Column("Size", "SIZE"),
    ),
    shown=("Driver", "Name"),
    json_names=(
        "Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope", "Size", "Status",
    ),
    quiet="Name",
    kind="formatter.volumeContext",
)  # fmt: skip
ANONYMOUS = "WARNING! This will remove anonymous local volumes not used by at least one container."
ALL = "WARNING! This will remove all local volumes not used by at least one container."

_volumes = click.argument("volumes", metavar="VOLUME [VOLUME...]", nargs=-1, required=True)


@click.command("ls", short_help="List volumes")
@filter_option("dangling= name= driver= label=")
@long_format_option("'json', 'table', or a Go template such as '{{.Name}}'")
@click.option("-q", "--quiet", is_flag=True, help="Only show names")
def ls(filters: tuple[str, ...], format_: str | None, quiet: bool) -> None:
    """List volumes by name."""
    from entrepot.actions.volumes import list_volumes

    found = list_volumes(filters=filters, store=open_store())
    print_listing(LISTING, [_row(volume) for volume in found], format_=format_, quiet=quiet)


def _row(volume: Volume) -> dict[str, Any]:
    unknown = dict.fromkeys(("Availability", "Group", "Links", "Size", "Status"), "N/A")
    mountpoint = str(volume.path.absolute())
    return unknown | {
        "Driver": "local", "Name": volume.name, "Scope": "local", "Mountpoint": mountpoint, "Labels": "",
    }  # fmt: skip


@click.command("inspect", short_help="Display detailed information on one or more volumes")
@_volumes
@format_option("'json', or a Go template such as '{{.Mountpoint}}'")
def inspect(volumes: tuple[str, ...], format_: str | None) -> int:
    """Everything known of volumes, as JSON."""
    from entrepot.actions.volumes import inspect_volume
    from entrepot.cli.doing.inspect import print_documents

    store = open_store()
    return print_documents(volumes, lambda name: inspect_volume(name, store=store), format_)


@click.command("rm", short_help="Remove one or more volumes")
@click.option("-f", "--force", is_flag=True, help="Missing ones are fine")
@_volumes
def rm(volumes: tuple[str, ...], force: bool) -> int:
    """Remove volumes with what is in them. One that a container has stays."""
    from entrepot.actions.volumes import NoSuchVolume, remove_volume
    from entrepot.cli.failures import describe_failure
    from entrepot.errors import EntrepotError

    store, code = container_store(), exitcodes.OK
    for name in volumes:
        try:
            remove_volume(name, store=store)
        except EntrepotError as error:
            if not (force and isinstance(error, NoSuchVolume)):
                print_error(describe_failure(error))
                code = exitcodes.FAILED
                continue
        write(name)
    return code


@click.command("prune", short_help="Remove unused volumes")
@click.option("-a", "--all", "all_volumes", is_flag=True, help="Remove named ones, too")
@click.option("--filter", "filters", multiple=True, metavar="KEY=VALUE", help="label= all=")
@click.option("-f", "--force", is_flag=True, help="Do not ask")
def prune(all_volumes: bool, filters: tuple[str, ...], force: bool) -> None:
    """Remove volumes that no container has: those nobody named, or all of them."""
    from entrepot.actions.volumes import prune_volumes

    if not force and not confirmed(ALL if all_volumes else ANONYMOUS):
        write("Total reclaimed space: 0B")
        return
    pruned = prune_volumes(all_volumes=all_volumes, filters=filters, store=container_store())
    print_volumes_pruned(pruned.removed)
    write(f"Total reclaimed space: {human_size(pruned.freed_bytes, 4)}")


def print_volumes_pruned(removed: tuple[str, ...]) -> None:
    """As docker has it."""
    if removed:
        write("Deleted Volumes:")
        for name in removed:
            write(name)
        write()
