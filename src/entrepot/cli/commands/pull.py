"""`entrepot pull`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import (
    content_trust_option,
    insecure_option,
    open_store,
    platform_option,
    progress_option,
    quiet_option,
)
from entrepot.cli.output import write

if TYPE_CHECKING:
    from entrepot.images.store import ImageStore


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
def pull(
    name: str,
    all_tags: bool,
    platform: str | None,
    all_platforms: bool,
    at: str | None,
    quiet: bool,
    progress: str,
    insecure: bool,
) -> None:
    """Download an image from a registry.

    A download that was interrupted, even by a crash, goes on where it stopped.
    """
    pull_and_report(
        name, all_tags=all_tags, platform=platform, all_platforms=all_platforms, at=at, quiet=quiet,
        progress=progress, insecure=insecure,
    )  # fmt: skip


def pull_and_report(
    name: str,
    *,
    all_tags: bool = False,
    platform: str | None = None,
    all_platforms: bool = False,
    at: str | None = None,
    quiet: bool = False,
    progress: str = "auto",
    insecure: bool = False,
) -> None:
    """Pull and print what docker prints."""
    from entrepot.actions import pull as action
    from entrepot.cli.progress import PULL, reporter
    from entrepot.oci.reference import Reference

    reference = Reference.parse(name)
    options: _Options = {
        "platform": platform,
        "all_platforms": all_platforms,
        "insecure": insecure,
        "store": open_store(),
    }
    if all_tags:
        if at is not None:
            raise click.UsageError("--at asks about one tag: it can't be used with --all-tags/-a")
        with reporter(progress, PULL, quiet=quiet) as report:
            pulled = action.pull_all_tags(name, on_event=report, **options)
            updated = any(one.updated for one in pulled)
            report.line(f"Status: {_status(updated)} {reference.familiar_name}")
        write(reference.name)
        return
    with reporter(progress, PULL, quiet=quiet) as report:
        if reference.tag is None and reference.digest is None:
            report.line("Using default tag: latest")
        one = action.pull(name, at=at, on_event=report, **options)
        report.line(f"Status: {_status(one.updated, at)} {one.reference.familiar()}")
        if one.other_platform:
            report.line(
                f"WARNING: image with reference {one.reference.familiar()} was found but its platform "
                f"({one.other_platform}) does not match the specified platform ({platform})"
            )
    if progress != "json" or quiet:
        write(str(reference.with_default_tag()))


class _Options(TypedDict):
    platform: str | None
    all_platforms: bool
    insecure: bool
    store: ImageStore


def _status(updated: bool, at: str | None = None) -> str:
    if at is not None:
        return f"Downloaded the image of {at} for" if updated else f"Image is already that of {at} for"
    return "Downloaded newer image for" if updated else "Image is up to date for"
