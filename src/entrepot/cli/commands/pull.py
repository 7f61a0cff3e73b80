"""`entrepot pull`."""

from __future__ import annotations

from typing import Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import (
    content_trust_option,
    insecure_option,
    platform_option,
    progress_option,
    quiet_option,
)


@click.command("pull", short_help="Download an image from a registry")
@click.argument("name", metavar="NAME[:TAG|@DIGEST]", shell_complete=complete_image)
@click.option("-a", "--all-tags", is_flag=True, help="Download every tag of the repository")
@platform_option("Of several platforms, this one (linux/arm64); this machine's when left out")
@click.option("--all-platforms", is_flag=True, help="Download every platform, and the index itself")
@click.option(
    "--at", metavar="TIME", help="What the tag was at a time: a date or RFC 3339, UTC without a zone"
)
@quiet_option("Print only the full name")
@progress_option()
@insecure_option()
@content_trust_option()
def pull(name: str, **said: Any) -> int:
    """Download an image from a registry.

    A download that was interrupted, even by a crash, goes on where it stopped.
    """
    if said["all_tags"] and said["at"] is not None:
        raise click.UsageError("--at asks about one tag: it can't be used with --all-tags/-a")
    from entrepot.cli.doing.pull import pull_and_report

    return pull_and_report(name, **said)
