"""`entrepot admin reconcile`."""

from __future__ import annotations

import json
from typing import Any

import click

from entrepot.cli.commands.admin import with_services
from entrepot.cli.output import human_size, write


@click.command("reconcile", short_help="Look for stored objects that no row knows of")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def reconcile(as_json: bool) -> None:
    """Report orphans, and remove them when they are few, old, and this is the catalog's own store.

    `entrepot serve` does this once a day. More is removed with: entrepot admin fsck --repair
    """
    report = with_services(_reconcile)
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


async def _reconcile(services: Any) -> dict[str, Any]:
    from entrepot.server.compose import trash_delay_s
    from entrepot.server.upkeep.integrity.reconcile import reconcile

    gc = services.config.gc
    window = max(gc.undo_window, services.config.limits.upload_ttl)
    report = await reconcile(
        services.catalog,
        services.store,
        undo_window_s=window,
        trash_delay_s=trash_delay_s(services.config),
    )
    return report.to_json()
