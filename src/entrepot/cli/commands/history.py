"""`entrepot history`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import GoBool, long_format_option, open_store, platform_option
from entrepot.cli.output import Column, Listing, ellipsis, human_size, print_listing, since, utc_now

if TYPE_CHECKING:
    from entrepot.actions.history import HistoryRow

LISTING = Listing(
    columns=(
        Column("ID", "IMAGE"), Column("CreatedSince", "CREATED"), Column("CreatedAt", "CREATED AT"),
        Column("CreatedBy", "CREATED BY"), Column("Size", "SIZE"), Column("Comment", "COMMENT"),
    ),
    shown=("ID", "CreatedSince", "CreatedBy", "Size", "Comment"),
    json_names=("Comment", "CreatedAt", "CreatedBy", "CreatedSince", "ID", "Size"),
    quiet="ID",
    kind="formatter.historyContext",
)  # fmt: skip
EXACT = ("ID", "CreatedAt", "CreatedBy", "Size", "Comment")
CREATED_BY_LENGTH = 45


@click.command("history", short_help="Show the history of an image")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@long_format_option()
@click.option("-H", "--human", metavar="BOOL", is_flag=False, flag_value="true", default="true",
              type=GoBool(), help="Sizes and dates for people (-H=false for programs)")  # fmt: skip
@click.option("--no-trunc", is_flag=True, help="Do not shorten anything")
@click.option("-q", "--quiet", is_flag=True, help="Only show image IDs")
@platform_option("Only if the image is for this platform")
def history(
    image: str, format_: str | None, human: bool, no_trunc: bool, quiet: bool, platform: str | None
) -> None:
    """Show how an image came about, the newest step first."""
    from entrepot.actions.history import history as steps_of

    now = utc_now()
    steps = steps_of(image, platform=platform, store=open_store())
    rows = [_row(step, now=now, human=human, full=no_trunc) for step in steps]
    print_listing(LISTING, rows, format_=format_, quiet=quiet, shown=None if human else EXACT)


def _row(step: HistoryRow, *, now: datetime, human: bool, full: bool) -> dict[str, Any]:
    command = step.created_by.replace("\t", " ")
    image_id = "<missing>" if step.id is None else str(step.id) if full else step.id.short
    return {
        "ID": image_id,
        "CreatedSince": since(step.created, now) if human else _at(step.created),
        "CreatedAt": _at(step.created),
        "CreatedBy": command if full else ellipsis(command, CREATED_BY_LENGTH),
        "Size": human_size(step.size) if human else str(step.size),
        "Comment": step.comment,
    }


def _at(moment: datetime | None) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if moment else "N/A"
