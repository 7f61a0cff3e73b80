"""`entrepot push`."""

from __future__ import annotations

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

ONE_PLATFORM = """
 Info -> Using --platform pushes only the specified platform manifest of a multi-platform image index.
         Other components, like attestations, will not be included.
         To push the complete multi-platform image, remove the --platform flag.
         """


@click.command("push", short_help="Upload an image to a registry")
@click.argument("name", metavar="NAME[:TAG]", shell_complete=complete_image)
@click.option("-a", "--all-tags", is_flag=True, help="Push all tags of the repository")
@platform_option("Push only this platform of an image that has several")
@click.option(
    "--if-absent", is_flag=True, help="Create the tag, never move it: fails when it holds something else"
)
@quiet_option("Print only the full name")
@progress_option()
@insecure_option()
@content_trust_option()
def push(
    name: str,
    all_tags: bool,
    platform: str | None,
    if_absent: bool,
    quiet: bool,
    progress: str,
    insecure: bool,
) -> None:
    """Upload an image to a registry.

    Layers the registry has are not sent again; those another of its repositories has are mounted.
    """
    from entrepot.actions.push import push as send
    from entrepot.cli.progress import PUSH, reporter
    from entrepot.oci.reference import Reference

    reference = Reference.parse(name)
    if platform and not quiet:
        write(ONE_PLATFORM)
    with reporter(progress, PUSH, quiet=quiet) as report:
        if reference.tag is None and reference.digest is None and not all_tags:
            report.line("Using default tag: latest")
        send(
            name, all_tags=all_tags, platform=platform, if_absent=if_absent, insecure=insecure,
            store=open_store(), on_event=report,
        )  # fmt: skip
    if quiet:
        write(str(reference if all_tags else reference.with_default_tag()))
