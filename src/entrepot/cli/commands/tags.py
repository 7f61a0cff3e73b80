"""`entrepot tags`."""

from __future__ import annotations

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, long_format_option, open_store
from entrepot.cli.output import Column, Listing, print_listing, write

LISTING = Listing((Column("Tag", "TAG"),), ("Tag",), ("Tag",), "Tag")


@click.command("tags", short_help="List the tags of a repository")
@click.argument("repository", metavar="REPOSITORY", shell_complete=complete_image)
@click.argument("patterns", metavar="[PATTERN...]", nargs=-1)
@long_format_option()
@insecure_option()
def tags(repository: str, patterns: tuple[str, ...], format_: str | None, insecure: bool) -> None:
    """List the tags of a repository, one a line; those like PATTERN ('1.*') when some are given.

    A layout or archive (oci:DIR, docker-archive:FILE …) lists the names in it.
    """
    from entrepot.actions.listing import list_tags

    found = list_tags(repository, patterns=patterns, insecure=insecure, store=open_store())
    if format_:
        print_listing(LISTING, [{"Tag": tag} for tag in found], format_=format_)
        return
    for tag in found:
        write(tag)
