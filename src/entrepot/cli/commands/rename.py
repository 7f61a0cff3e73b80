"""`entrepot rename`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import complete_container
from entrepot.cli.options import open_store


@click.command("rename", short_help="Rename a container")
@click.argument("container", metavar="CONTAINER", shell_complete=complete_container)
@click.argument("new_name", metavar="NEW_NAME")
def rename(container: str, new_name: str) -> None:
    """Give a container another name."""
    from entrepot.actions.rename import rename_container

    rename_container(container, new_name, store=open_store())
