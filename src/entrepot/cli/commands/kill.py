"""`entrepot kill`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import container_arguments, container_store, each


@click.command("kill", short_help="Kill one or more running containers")
@click.option("-s", "--signal", metavar="SIGNAL", default="KILL", show_default=True, help="Signal to send")
@container_arguments
def kill(containers: tuple[str, ...], signal: str) -> int:
    """Send a signal to the process of each container."""
    from entrepot.actions.kill import kill_container

    store = container_store(containers[0])
    return each(containers, lambda name: kill_container(name, signal=signal, store=store))
