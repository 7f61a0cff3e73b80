"""`entrepot export`."""

from __future__ import annotations

import sys
from typing import Any

import click

from entrepot.cli import exitcodes
from entrepot.cli.container_options import container_argument, container_store
from entrepot.cli.output import is_terminal, print_error


@click.command("export", short_help="Export a container's files as a tar archive")
@click.option("-o", "--output", metavar="FILE", help="Write to this file instead of STDOUT")
@container_argument
def export(container: str, output: str | None) -> int:
    """Write the files of a container as one flat tar, which `import` makes an image of.

    It holds the files alone: no history, no settings, no layers. (`save` keeps all of an image.)
    """
    from entrepot.actions.export import export_container

    if output is None and is_terminal():
        print_error("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        return exitcodes.FAILED
    target: Any = output if output is not None else sys.stdout.buffer
    export_container(container, target, store=container_store(container))
    return exitcodes.OK
