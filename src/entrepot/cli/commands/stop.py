"""`entrepot stop` and `entrepot restart`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import container_arguments, container_store, each


@click.command("stop", short_help="Stop one or more running containers")
@click.option("-t", "--time", "--timeout", "timeout", type=int, help="Seconds to wait before killing it (10)")
@click.option("-s", "--signal", metavar="SIGNAL", help="Signal to send instead of its own")
@container_arguments
def stop(containers: tuple[str, ...], timeout: int | None, signal: str | None) -> int:
    """Ask containers to end, and kill those that do not in time."""
    from entrepot.actions.stop import stop_container

    store = container_store(containers[0])
    return each(containers, lambda name: stop_container(name, timeout_s=timeout, signal=signal, store=store))


@click.command("restart", short_help="Restart one or more containers")
@click.option("-t", "--time", "--timeout", "timeout", type=int, help="Seconds to wait before killing it (10)")
@click.option("-s", "--signal", metavar="SIGNAL", help="Signal to send instead of its own")
@container_arguments
def restart(containers: tuple[str, ...], timeout: int | None, signal: str | None) -> int:
    """Stop containers that run, and start them."""
    from entrepot.actions.start import start_container
    from entrepot.actions.stop import stop_container

    store = container_store()

    def again(name: str) -> None:
        stop_container(name, timeout_s=timeout, signal=signal, store=store)
        start_container(name, store=store)

    return each(containers, again)
