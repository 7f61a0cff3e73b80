"""`entrepot diff`."""

from __future__ import annotations

import click

from entrepot.cli.container_options import container_argument, container_store
from entrepot.cli.output import write


@click.command("diff", short_help="Inspect changes to a container's files")
@container_argument
def diff(container: str) -> None:
    """List what a container added (A), changed (C) and deleted (D) in its image's files."""
    from entrepot.actions.diff import container_changes

    for change in container_changes(container, store=container_store(container)):
        write(f"{change.kind} {change.path}")
