"""`entrepot start`."""

from __future__ import annotations

import click

from entrepot.cli import exitcodes
from entrepot.cli.container_options import container_arguments, container_store, detach_keys_option, each


@click.command("start", short_help="Start one or more stopped containers")
@click.option("-a", "--attach", is_flag=True, help="Stay attached to its output, and pass signals on")
@click.option("-i", "--interactive", is_flag=True, help="Send standard input")
@detach_keys_option
@container_arguments
def start(containers: tuple[str, ...], attach: bool, interactive: bool, detach_keys: str) -> int:
    """Start containers again. Their files are as they left them."""
    from entrepot.actions.start import start_container
    from entrepot.containers.options import parse_detach_keys

    store = container_store()
    if attach or interactive:
        return _start_attached(containers, interactive, parse_detach_keys(detach_keys))
    return each(
        containers,
        lambda name: start_container(name, store=store),
        summary="Error: failed to start containers",
    )


def _start_attached(containers: tuple[str, ...], interactive: bool, keys: bytes) -> int:
    from entrepot.actions.create import lifecycle_of
    from entrepot.cli.commands.run import attach_streams
    from entrepot.cli.options import open_store
    from entrepot.cli.output import print_error

    if len(containers) > 1:
        print_error("you cannot start and attach multiple containers at once")
        return exitcodes.FAILED
    lifecycle = lifecycle_of(open_store())
    container = lifecycle.containers.find(containers[0])
    stdin = interactive and container.process.open_stdin
    _, sock = lifecycle.start(container, stdin=stdin)
    with sock:
        return attach_streams(lifecycle, container, sock, stdin=stdin, sig_proxy=True, detach_keys=keys)
