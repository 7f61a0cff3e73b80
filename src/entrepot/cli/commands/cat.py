"""`entrepot cat`."""

from __future__ import annotations

import sys

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, open_store, platform_option


@click.command("cat", short_help="Print a file of an image")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@platform_option("Of an image for several platforms; this machine's otherwise")
@insecure_option()
def cat(image: str, paths: tuple[str, ...], platform: str | None, insecure: bool) -> None:
    """Print files of an image, links followed, without pulling or unpacking it.

    IMAGE is one of the local store or of a registry, or a place as for `copy`: oci:DIRECTORY,
    docker-archive:FILE …
    """
    from entrepot.actions.image_files import open_image_files

    with open_image_files(image, platform=platform, insecure=insecure, store=open_store()) as files:
        for path in paths:
            _, node = files.find(path)
            for piece in files.content(node):
                sys.stdout.buffer.write(piece)
    sys.stdout.buffer.flush()
