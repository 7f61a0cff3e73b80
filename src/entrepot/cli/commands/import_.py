"""`entrepot import`."""

from __future__ import annotations

import sys

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store, platform_option
from entrepot.cli.output import write
from entrepot.cli.signals import ends_tidily


@click.command("import", short_help="Make an image from the tar of a root file system")
@click.argument("source", metavar="file|URL|-")
@click.argument("name", metavar="[REPOSITORY[:TAG]]", required=False, shell_complete=complete_image)
@click.option("-c", "--change", "changes", multiple=True, metavar="INSTRUCTION",
              help="Dockerfile instruction for the image's config, as in 'CMD [\"sh\"]'")  # fmt: skip
@click.option("-m", "--message", metavar="TEXT", help="What `history` will say")
@platform_option("What the file system is for (linux/arm64)")
@click.option("--config-from", metavar="IMAGE", help="Take over command, environment, labels … of this image")
@ends_tidily
def import_(
    source: str, name: str | None, changes: tuple[str, ...], message: str | None, platform: str | None,
    config_from: str | None,
) -> None:  # fmt: skip
    """Make an image of one layer from a tar (plain, gzip, bzip2, xz or zstd).

    `import` reads what `export` writes: a file system, without history or settings. What `save` writes is
    read by `load`.
    """
    from entrepot.actions.import_ import import_ as make

    image = make(
        sys.stdin.buffer if source == "-" else source, name, changes=changes, message=message,
        platform=platform, config_from=config_from, store=open_store(),
    )  # fmt: skip
    write(str(image.id))
