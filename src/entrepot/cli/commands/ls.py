"""`entrepot ls`."""

from __future__ import annotations

import click

from entrepot.cli.options import insecure_option, long_format_option, open_store
from entrepot.cli.output import Column, Listing, print_listing, write

LISTING = Listing((Column("Repository", "REPOSITORY"),), ("Repository",), ("Repository",), "Repository")


@click.command("ls", short_help="List the repositories of a registry")
@click.argument("place", metavar="REGISTRY[/PREFIX]")
@long_format_option()
@insecure_option()
def ls(place: str, format_: str | None, insecure: bool) -> None:
    """List the repositories of a registry, one a line; with store: those of the local store."""
    from entrepot.actions.listing import list_repositories

    found = list_repositories(place, insecure=insecure, store=open_store())
    if format_:
        print_listing(LISTING, [{"Repository": name} for name in found], format_=format_)
        return
    for name in found:
        write(name)
