"""`entrepot admin reconcile`."""

from __future__ import annotations

import json

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.output import human_size, write


@click.command("reconcile", short_help="Look for stored objects that no row knows of")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def reconcile(as_json: bool) -> None:
    """Report orphans, and remove them when they are few, old, and this is the catalog's own store.

    `entrepot serve` does this once a day. More is removed with: entrepot admin fsck --repair
    """
    from entrepot.server.control.upkeep import find_orphans

    report = as_operator(find_orphans, with_accounts=False).to_json()
    if as_json:
        write(json.dumps(report, indent=2))
        return
    write(
        f"looked at {report['objects']} objects: {report['orphans']} orphans"
        f" ({human_size(report['orphan_bytes'])}), {report['trashed']} removed"
    )
    if report["kept_because"]:
        write(f"kept, since {report['kept_because']}")
    for phys in report["examples"]:
        write(f"  {phys}")
