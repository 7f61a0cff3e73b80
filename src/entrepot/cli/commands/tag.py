"""`entrepot tag`."""

from __future__ import annotations

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store


@click.command("tag", short_help="Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE")
@click.argument("source", metavar="SOURCE_IMAGE[:TAG]", shell_complete=complete_image)
@click.argument("target", metavar="TARGET_IMAGE[:TAG]", shell_complete=complete_image)
def tag(source: str, target: str) -> None:
    """Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE.

    An image that had the name before stays, without it.
    """
    from entrepot.actions.tag import tag as create

    create(source, target, store=open_store())
