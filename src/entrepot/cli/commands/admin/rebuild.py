"""`entrepot admin rebuild`."""

from __future__ import annotations

import os
from typing import Any

import click

from entrepot.cli.commands.admin import admin_config
from entrepot.cli.commands.admin.places import say
from entrepot.cli.output import write
from entrepot.wording import plural


@click.command("rebuild", short_help="Find images in blobs when the catalog is lost")
def rebuild() -> None:
    """Read every blob and bring back the images they make, when there is neither catalog nor backup.

    The settings name the blobs and an empty catalog. Image IDs are what they were; names, tags and manifest
    digests are lost: images are found at `recovered/images`. Nothing is removed.
    """
    import asyncio

    report = asyncio.run(_rebuild())
    for name in report.images:
        write(name)
    for digest in report.incomplete:
        write(f"not all layers are there: {digest}")
    write(
        f"read {plural(report.objects, 'object')}: {plural(len(report.images), 'image')},"
        f" {len(report.incomplete)} incomplete; {plural(report.unused, 'object')} of no image kept"
    )


async def _rebuild() -> Any:
    from entrepot.server.compose import opened_ground
    from entrepot.server.control.backups import rebuild as rebuild_catalog
    from entrepot.server.process.data_directory import (
        hold_data_directory,
        left_to_its_owner,
        make_data_directory,
    )

    config = admin_config()
    make_data_directory(config.server.data)
    lock = hold_data_directory(config.server.data)
    try:
        with left_to_its_owner(config.server.data):
            async with opened_ground(config, make=True) as ground:
                return await rebuild_catalog(ground, say=say)
    finally:
        os.close(lock)
