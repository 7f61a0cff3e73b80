"""`entrepot rm`."""

from __future__ import annotations

import os

import click

from entrepot.cli import exitcodes
from entrepot.cli.container_options import container_arguments, container_store
from entrepot.cli.output import print_error, write


@click.command("rm", short_help="Remove one or more containers")
@click.option("-f", "--force", is_flag=True, help="Kill it first when it runs")
@click.option("-v", "--volumes", is_flag=True, help="Remove its anonymous volumes too")
@click.option("-l", "--link", is_flag=True, hidden=True, expose_value=False)
@container_arguments
def rm(containers: tuple[str, ...], force: bool, volumes: bool) -> int:
    """Remove containers, with what they changed."""
    from entrepot.actions.rm import remove_container
    from entrepot.actions.uses import collect_snapshots
    from entrepot.cli.failures import describe_failure
    from entrepot.containers import rootless
    from entrepot.containers.errors import NoSuchContainer
    from entrepot.errors import EntrepotError

    store, code = container_store(containers[0] if force else None), exitcodes.OK
    for name in containers:
        try:
            remove_container(name, force=force, volumes=volumes, store=store)
        except EntrepotError as error:
            print_error(describe_failure(error))
            if not (force and isinstance(error, NoSuchContainer)):
                code = exitcodes.FAILED
        else:
            write(name)
    if os.geteuid() == 0 and rootless.is_inside():
        # `rmi` of a plain user cannot remove what belongs to the namespace's other ids.
        collect_snapshots(store)
    return code
