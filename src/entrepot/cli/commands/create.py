"""`entrepot create`."""

from __future__ import annotations

from typing import Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.container_options import (
    CONTEXT,
    DockerCommand,
    check_cidfile,
    container_store,
    create_flags,
    fetch_image,
    read_options,
    say_missing,
    write_cidfile,
)
from entrepot.cli.output import write


@click.command("create", cls=DockerCommand, short_help="Create a new container", context_settings=CONTEXT)
@create_flags
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.argument("command", metavar="[COMMAND] [ARG...]", nargs=-1, type=click.UNPROCESSED)
def create(image: str, command: tuple[str, ...], **flags: Any) -> None:
    """Make a container from an image without starting it. Prints its ID."""
    from entrepot.actions.create import create_container

    options = read_options(flags)
    check_cidfile(flags["cidfile"])
    container = create_container(
        image,
        command,
        options=options,
        pull=flags["pull"],
        platform=flags["platform"],
        store=container_store(),
        on_missing=say_missing,
        fetch=fetch_image(flags["platform"], quiet=flags["quiet"]),
    )
    write_cidfile(flags["cidfile"], container.id)
    write(container.id)
