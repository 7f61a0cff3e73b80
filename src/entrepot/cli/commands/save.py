"""`entrepot save`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

import click

from entrepot.cli import exitcodes
from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store, platforms_option, progress_option
from entrepot.cli.output import is_terminal, print_error
from entrepot.cli.signals import ends_tidily

if TYPE_CHECKING:
    from entrepot.archive.reading import ArchiveFormat


@click.command("save", short_help="Save images to an archive (to STDOUT by default)")
@click.argument("images", metavar="IMAGE [IMAGE...]", nargs=-1, required=True, shell_complete=complete_image)
@click.option("-o", "--output", metavar="FILE", help="Write to this file; .gz and .zst are compressed")
@platforms_option("Only this platform (can be given several times)")
@click.option("--archive-format", type=click.Choice(["docker", "oci"]), default="docker",
              help="docker: loaded by everything. oci: a plain OCI archive")  # fmt: skip
@progress_option()
@ends_tidily
def save(
    images: tuple[str, ...],
    output: str | None,
    platforms: tuple[str, ...],
    archive_format: str,
    progress: str,
) -> int:
    """Save images, with layers, history, settings and names, to one tar archive.

    `load` reads it back, here or in docker and podman, under the same image IDs. (`export` writes the files
    of a container instead, which `import` reads.) A name without a tag stands for all tags of it.
    """
    from entrepot.actions.save import save as write_to
    from entrepot.cli.progress import SAVE, reporter

    if output is None and is_terminal():
        print_error("cowardly refusing to save to a terminal. Use the -o flag or redirect")
        return exitcodes.FAILED
    target: Any = output if output is not None else sys.stdout.buffer
    kind = cast("ArchiveFormat", archive_format)
    stream = sys.stdout if output is not None else sys.stderr
    # docker tells nothing; on a terminal there are bars.
    hidden = progress == "none" or (progress == "auto" and not is_terminal(stream))
    with reporter(progress, SAVE, quiet=hidden, stream=stream) as report:
        write_to(
            images, target, platforms=platforms, archive_format=kind, store=open_store(), on_event=report
        )
    return exitcodes.OK
