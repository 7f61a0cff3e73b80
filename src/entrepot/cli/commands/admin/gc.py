"""`entrepot admin gc`."""

from __future__ import annotations

import json
from typing import Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.output import human_size, table, write

_PLURAL = {"repository": "repositories"}


@click.command("gc", short_help="Remove what nothing refers to")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would go, and why.")
@click.option("--untagged", is_flag=True, help="Also manifests without a tag that nothing needs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def gc(dry_run: bool, untagged: bool, as_json: bool) -> None:
    """Remove unreferenced blobs, idle uploads, and what was deleted when its undo window is over.

    `entrepot serve` does this by itself every `gc.interval`. It may run beside a serving registry: pushes
    and pulls go on.
    """
    from entrepot.server.control.upkeep import collect_garbage

    listed = dry_run or as_json  # each thing with its reason; else they are only counted
    done, named = as_operator(
        lambda services, actor: collect_garbage(
            services, actor, dry_run=dry_run, untagged=untagged, listed=listed
        ),
        with_accounts=False,
    )
    report, removals = done.to_json(), [removal.to_json() for removal in named]
    if as_json:
        write(json.dumps({**report, "removals": removals}, indent=2))
        return
    if dry_run and removals:
        rows = [
            [row["kind"], _name(row), human_size(row["size"]) if row["size"] else "", row["reason"]]
            for row in removals
        ]
        write(table(["WHAT", "NAME", "SIZE", "WHY"], rows).rstrip("\n"))
    verb = "would remove" if dry_run else "removed"
    freed = human_size(report["bytes_freed"])
    counts = _counts(report["removed"]) or "nothing"
    write(f"{verb} {counts}" + (f"; {freed} to be freed" if report["bytes_freed"] else ""))
    if dry_run:
        _write_waiting("waiting for an undo window or a lease", report["waiting"])
        _write_waiting("in the trash", report["trash"])


def _counts(number_of: dict[str, int]) -> str:
    return ", ".join(
        f"{number} {kind if number == 1 else _PLURAL.get(kind, f'{kind}s')}"
        for kind, number in number_of.items()
    )


def _write_waiting(where: str, waiting: dict[str, Any]) -> None:
    if waiting["count"]:
        size = f"; {human_size(waiting['bytes'])} to be freed" if waiting["bytes"] else ""
        write(f"{where}: {_counts(waiting['count'])}{size}, the first from {waiting['first_due']}")


def _name(row: dict[str, Any]) -> str:
    return f"{row['repository']}@{row['name']}" if "repository" in row else str(row["name"])
