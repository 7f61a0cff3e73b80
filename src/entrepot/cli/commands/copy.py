"""`entrepot copy`."""

from __future__ import annotations

import click

from entrepot.cli.options import insecure_option, open_store, platforms_option, progress_option, quiet_option
from entrepot.cli.output import human_size, write
from entrepot.cli.signals import ends_tidily


@click.command("copy", short_help="Copy an image from anywhere to anywhere")
@click.argument("source", metavar="SOURCE")
@click.argument("destination", metavar="DESTINATION")
@platforms_option("Only this platform of an index (can be given several times)")
@click.option("--all", "all_platforms", is_flag=True, hidden=True, expose_value=False)
@click.option("--referrers", is_flag=True, help="Take signatures, attestations and SBOMs along")
@click.option("--dry-run", is_flag=True, help="Say what would be copied and change nothing")
@quiet_option("Print only the digest")
@progress_option()
@insecure_option()
@ends_tidily
def copy(
    source: str, destination: str, platforms: tuple[str, ...], referrers: bool, dry_run: bool, quiet: bool,
    progress: str, insecure: bool,
) -> None:  # fmt: skip
    """Copy an image, with all its platforms, from one place to another; digests stay what they are.

    \b
    Places:
      docker://NAME[:TAG|@DIGEST]   a registry (also without docker://)
      store:NAME[:TAG]              the local store
      oci:DIR[:NAME]                an image layout in a directory
      oci-archive:FILE[:NAME]       an image layout in a tar
      docker-archive:FILE[:NAME]    what docker save writes
      docker-daemon:NAME[:TAG]      a docker daemon
    """
    from entrepot.actions.copy import copy as action
    from entrepot.cli.progress import COPY, reporter

    with reporter(progress, COPY, quiet=quiet or dry_run) as report:
        done = action(
            source, destination, platforms=platforms, referrers=referrers, dry_run=dry_run, insecure=insecure,
            store=open_store(), on_event=report,
        )  # fmt: skip
    if quiet:
        write(str(done.digest))
    elif dry_run:
        verb = f"would copy {human_size(done.moved_bytes)}" if done.changed else "is there already"
        write(f"{done.source} -> {done.destination}: {verb} ({done.digest})")
    else:
        more = f", {done.referrers} referrers" if referrers else ""
        write(
            f"{done.source} -> {done.destination}: {done.digest} ({human_size(done.moved_bytes)} moved{more})"
        )
