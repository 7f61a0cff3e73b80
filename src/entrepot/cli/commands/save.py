"""`entrepot save`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import click

from entrepot.cli import exitcodes
from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store, platform_option
from entrepot.cli.output import is_terminal, print_error

if TYPE_CHECKING:
    from entrepot.archive.reading import ArchiveFormat


@click.command("save", short_help="Save images to an archive (to STDOUT by default)")
@click.argument("images", metavar="IMAGE [IMAGE...]", nargs=-1, required=True, shell_complete=complete_image)
@click.option("-o", "--output", metavar="FILE", help="Write to this file; .gz and .zst are compressed")
@platform_option("Of an image of several platforms, only this one")
@click.option("--archive-format", type=click.Choice(["docker", "oci"]), default="docker",
              help="docker: loaded by everything. oci: a plain OCI archive")  # fmt: skip
def save(images: tuple[str, ...], output: str | None, platform: str | None, archive_format: str) -> int:
    """Save images, with layers, history, settings and names, to one tar archive.

    `load` reads it back, here or in docker and podman, under the same image IDs. (`export` writes the files
    of a container instead, which `import` reads.) A name without a tag stands for all tags of it.
    """
    from entrepot.actions.save import save as write_to

    if output is None and is_terminal():
        print_error("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        return exitcodes.FAILED
    target: Any = output if output is not None else sys.stdout.buffer
    kind = cast("ArchiveFormat", archive_format)
    write_to(images, target, platform=platform, archive_format=kind, store=open_store())
    return exitcodes.OK
