"""`entrepot wait`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import container_arguments, container_store, each
from entrepot.cli.output import write


@click.command("wait", short_help="Block until one or more containers stop, then print their exit codes")
@container_arguments
def wait(containers: tuple[str, ...]) -> int:
    """Wait for containers to end. Prints each exit code."""
    from entrepot.actions.wait import wait_for_container

    store = container_store(containers[0])
    return each(containers, lambda name: write(str(wait_for_container(name, store=store))), echo=False)
