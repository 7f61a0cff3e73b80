"""`entrepot load`."""

from __future__ import annotations

import sys

import click

from entrepot.cli import exitcodes
from entrepot.cli.options import open_store, platforms_option, progress_option
from entrepot.cli.output import is_terminal, print_error, write
from entrepot.cli.signals import ends_tidily


@click.command("load", short_help="Load images from an archive or STDIN")
@click.option("-i", "--input", "source", metavar="FILE", help="Read this file instead of STDIN")
@platforms_option("Only this platform (can be given several times)")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress")
@progress_option()
@ends_tidily
def load(source: str | None, platforms: tuple[str, ...], quiet: bool, progress: str) -> int:
    """Load images that `save` wrote: ours, docker's, podman's, skopeo's, buildah's or bazel's.

    Plain tar, gzip, bzip2, xz or zstd. (The tar of a file system is read by `import`.)
    """
    from entrepot.actions.load import load as bring
    from entrepot.cli.progress import LOAD, reporter

    if source is None and is_terminal(sys.stdin):
        print_error("requested load from stdin, but stdin is empty")
        return exitcodes.FAILED
    # docker tells of layers only on a terminal.
    hidden = quiet or progress == "none" or (progress == "auto" and not is_terminal())
    with reporter(progress, LOAD, quiet=hidden) as report:
        archive = source if source is not None else sys.stdin.buffer
        loaded = bring(archive, platforms=platforms, store=open_store(), on_event=report)
    for one in loaded:
        for reference, before in one.displaced:
            write(
                f"The image {reference.familiar()} already exists, "
                f"renaming the old one with ID {before} to empty string"
            )
        for reference in one.references:
            write(f"Loaded image: {reference.familiar()}")
    if not any(one.references for one in loaded):
        for one in loaded:
            write(f"Loaded image ID: {one.image.id}")
    return exitcodes.OK
