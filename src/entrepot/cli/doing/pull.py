"""What `entrepot pull` does and prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from entrepot.cli import exitcodes
from entrepot.cli.invocation import open_store
from entrepot.cli.output import write

if TYPE_CHECKING:
    from entrepot.images.store import ImageStore


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
) -> int:
    """Pull and print what docker prints; the exit code. `at` asks about one tag. Raises EntrepotError."""
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
        with reporter(progress, PULL, quiet=quiet) as report:
            pulled = action.pull_all_tags(name, on_event=report, **options)
            updated = any(one.updated for one in pulled)
            report.line(f"Status: {_status(updated)} {reference.familiar_name}")
        write(reference.name)
        return exitcodes.OK
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
    return exitcodes.OK


class _Options(TypedDict):
    platform: str | None
    all_platforms: bool
    insecure: bool
    store: ImageStore


def _status(updated: bool, at: str | None = None) -> str:
    if at is not None:
        return f"Downloaded the image of {at} for" if updated else f"Image is already that of {at} for"
    return "Downloaded newer image for" if updated else "Image is up to date for"
