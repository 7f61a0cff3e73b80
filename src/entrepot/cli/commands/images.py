"""`entrepot images`."""

from __future__ import annotations

from typing import Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import filter_option, long_format_option


@click.command("images", short_help="List images")
@click.argument("reference", metavar="[REPOSITORY[:TAG]]", required=False, shell_complete=complete_image)
@click.option("-a", "--all", "all_images", is_flag=True, help="Show intermediate images too")
@click.option("--digests", is_flag=True, help="Show digests")
@filter_option("dangling= label= before= since= reference= until=")
@long_format_option()
@click.option("--no-trunc", is_flag=True, help="Do not shorten IDs")
@click.option("-q", "--quiet", is_flag=True, help="Only show image IDs")
@click.option("--tree", is_flag=True, help="Show the platforms of each image below it")
def images(reference: str | None, **said: Any) -> int:
    """List images, the newest first; those of one repository when REPOSITORY is given."""
    from entrepot.cli.doing.images import show_images

    return show_images(reference, **said)
