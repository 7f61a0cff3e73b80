"""`entrepot search`."""

from __future__ import annotations

import click

from entrepot.cli.options import filter_option, insecure_option, long_format_option
from entrepot.cli.output import Column, Listing, ellipsis, print_listing

LISTING = Listing(
    columns=(
        Column("Name", "NAME"), Column("Description", "DESCRIPTION"), Column("StarCount", "STARS"),
        Column("IsOfficial", "OFFICIAL"), Column("IsAutomated", "AUTOMATED"),
    ),
    shown=("Name", "Description", "StarCount", "IsOfficial"),
    json_names=("Description", "IsOfficial", "Name", "StarCount"),
    quiet="Name",
    kind="formatter.searchContext",
)  # fmt: skip
DESCRIPTION_LENGTH = 45


@click.command("search", short_help="Search a registry for images")
@click.argument("term", metavar="TERM")
@filter_option("stars= is-official= is-automated=")
@long_format_option()
@click.option("--limit", type=int, default=25, metavar="N", help="At most this many, 1 to 100 (25)")
@click.option("--no-trunc", is_flag=True, help="Do not shorten descriptions")
@insecure_option()
def search(
    term: str, filters: tuple[str, ...], format_: str | None, limit: int, no_trunc: bool, insecure: bool
) -> None:
    """Search Docker Hub, or the registry TERM begins with (localhost:5000/nginx)."""
    from entrepot.actions.search import search as find

    rows = []
    for found in find(term, limit=limit, filters=filters, insecure=insecure):
        description = found.description.replace("\n", " ").replace("\r", " ")
        official = "[OK]" if found.official else ""
        if format_ == "json":
            official = "true" if found.official else "false"
        rows.append(
            {
                "Name": found.name,
                "Description": description if no_trunc else ellipsis(description, DESCRIPTION_LENGTH),
                "StarCount": str(found.stars),
                "IsOfficial": official,
                "IsAutomated": "[OK]" if found.automated else "",
            }
        )
    print_listing(LISTING, rows, format_=format_)
