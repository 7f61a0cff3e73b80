"""`entrepot rmi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from entrepot.cli import exitcodes
from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store
from entrepot.cli.output import print_error, write

if TYPE_CHECKING:
    from entrepot.actions.rmi import Removed


@click.command("rmi", short_help="Remove one or more images")
@click.argument("images", metavar="IMAGE [IMAGE...]", nargs=-1, required=True, shell_complete=complete_image)
@click.option("-f", "--force", is_flag=True, help="Remove it even when it has several names or is in use")
@click.option("--no-prune", is_flag=True, help="Keep untagged parents")
@click.option("--platform", metavar="PLATFORM", help="Only if the image is for this platform")
def rmi(images: tuple[str, ...], force: bool, no_prune: bool, platform: str | None) -> int:
    """Remove images by name or ID.

    A name is only taken away while the image has others; the image goes with its last name.
    """
    from entrepot.actions.inspect import check_platform
    from entrepot.actions.rmi import remove_image
    from entrepot.cli.failures import describe_failure
    from entrepot.errors import EntrepotError, NotFound

    store, code = open_store(), exitcodes.OK
    for name in images:
        try:
            if platform:
                check_platform(store.resolve(name), name, platform)
            removed = remove_image(name, force=force, prune=not no_prune, store=store)
        except EntrepotError as error:
            print_error(describe_failure(error))
            if not (force and isinstance(error, NotFound)):
                code = exitcodes.FAILED
            continue
        for record in removed:
            write(line_of(record))
    return code


def line_of(record: Removed, *, lower: bool = False) -> str:
    text = f"Untagged: {record.untagged}" if record.untagged else f"Deleted: {record.deleted}"
    return text[0].lower() + text[1:] if lower else text
