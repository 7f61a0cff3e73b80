"""`entrepot sync`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli import exitcodes
from entrepot.cli.options import insecure_option, open_store, platforms_option
from entrepot.cli.output import human_size, print_error, write
from entrepot.cli.signals import ends_tidily

if TYPE_CHECKING:
    from entrepot.actions.sync import Synced


@click.command("sync", short_help="Copy many images, only what changed")
@click.argument("source", metavar="[SOURCE", required=False)
@click.argument("destination", metavar="DESTINATION]", required=False)
@click.option("--from", "list_file", metavar="FILE", help="Read lines 'SOURCE DESTINATION [TAG-PATTERN…]'")
@click.option("--tags", multiple=True, metavar="PATTERN", help="Only tags like this (1.*), several times")
@click.option("--exclude", multiple=True, metavar="PATTERN", help="No tags like this")
@platforms_option("Only this platform (can be given several times)")
@click.option("--referrers", is_flag=True, help="Take signatures, attestations and SBOMs along")
@click.option("--dry-run", is_flag=True, help="Say what would be copied and change nothing")
@click.option("--keep-going", is_flag=True, help="Do the rest when an image fails; exit 1 at the end")
@click.option(
    "--jobs", type=click.IntRange(1, 32), default=4, metavar="N", help="Images at the same time (4)"
)
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="json: a line each"
)
@click.option("-q", "--quiet", is_flag=True, help="Print only failures")
@insecure_option()
@ends_tidily
def sync(
    source: str | None, destination: str | None, list_file: str | None, tags: tuple[str, ...],
    exclude: tuple[str, ...], platforms: tuple[str, ...], referrers: bool, dry_run: bool, keep_going: bool,
    jobs: int, format_: str, quiet: bool, insecure: bool,
) -> int:  # fmt: skip
    """Bring DESTINATION to what SOURCE holds: all tags of a repository, or one image.

    With a / at the end of both, all repositories below that prefix. Nothing is deleted. Places are those of
    `copy`.
    """
    from entrepot.actions import sync as action
    from entrepot.actions.errors import BadRequest

    if (source is None) == (list_file is None) or (source is not None and destination is None):
        raise BadRequest("entrepot sync: name a source and a destination, or a list with --from")
    if list_file is not None:
        listed = action.read_list(Path(list_file).read_text())
        pairs = [action.Pair(pair.source, pair.destination, pair.tags or tags) for pair in listed]
    else:
        pairs = [action.Pair(source or "", destination or "", tags)]
    results = action.sync_list(
        pairs, exclude=exclude, platforms=platforms, referrers=referrers, dry_run=dry_run,
        keep_going=keep_going, jobs=jobs, insecure=insecure, store=open_store(),
        on_result=lambda result: _report(result, dry_run=dry_run, as_json=format_ == "json", quiet=quiet),
    )  # fmt: skip
    failed = [result for result in results if result.error]
    changed = [result for result in results if result.changed]
    if format_ == "text" and not quiet:
        moved = human_size(sum(result.moved_bytes for result in results))
        verb = "to copy" if dry_run else "copied"
        write(f"{len(changed)} {verb} ({moved}), {len(results) - len(changed) - len(failed)} unchanged, "
              f"{len(failed)} failed")  # fmt: skip
    return exitcodes.FAILED if failed else exitcodes.OK


def _report(result: Synced, *, dry_run: bool, as_json: bool, quiet: bool) -> None:
    if as_json:
        write(_json(result))
    elif result.error:
        print_error(f"Error: {result.source}: {result.error}")
    elif not quiet:
        what = "unchanged" if not result.changed else "to copy" if dry_run else "copied"
        write(f"{result.source} -> {result.destination}: {what} {result.digest}")


def _json(result: Synced) -> str:
    from entrepot.cli.templates import to_json

    document: dict[str, Any] = {
        "Source": result.source,
        "Destination": result.destination,
        "Digest": str(result.digest) if result.digest else None,
        "Changed": result.changed,
        "Bytes": result.moved_bytes,
        "Referrers": result.referrers,
        "Error": result.error,
    }
    return to_json(document)
