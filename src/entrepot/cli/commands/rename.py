"""`entrepot rename`."""

from __future__ import annotations

import click

from entrepot.cli import exitcodes
from entrepot.cli.container_options import complete_container
from entrepot.cli.failures import describe_failure
from entrepot.cli.options import open_store
from entrepot.cli.output import print_error


@click.command("rename", short_help="Rename a container")
@click.argument("container", metavar="CONTAINER", shell_complete=complete_container)
@click.argument("new_name", metavar="NEW_NAME")
def rename(container: str, new_name: str) -> int:
    """Give a container another name."""
    from entrepot.actions.rename import rename_container
    from entrepot.errors import EntrepotError

    try:
        rename_container(container, new_name, store=open_store())
    except EntrepotError as error:
        print_error(describe_failure(error))
        print_error(f"Error: failed to rename container named {container}")
        return exitcodes.FAILED
    return exitcodes.OK
