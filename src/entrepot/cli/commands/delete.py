"""`entrepot delete`."""

from __future__ import annotations

import click

from entrepot.cli import exitcodes
from entrepot.cli.options import insecure_option, open_store
from entrepot.cli.output import print_error, write


@click.command("delete", short_help="Delete tags or manifests from a registry")
@click.argument("names", metavar="NAME:TAG|NAME@DIGEST...", nargs=-1, required=True)
@click.option("--manifest", is_flag=True, help="Delete what the tag points to, with all its tags")
@insecure_option()
def delete(names: tuple[str, ...], manifest: bool, insecure: bool) -> int:
    """Delete tags from a registry, or (by digest or with --manifest) manifests and all tags on them."""
    from entrepot.actions.listing import delete as remove
    from entrepot.cli.failures import describe_failure
    from entrepot.errors import EntrepotError

    code = exitcodes.OK
    for name in names:
        try:
            gone = remove(name, whole_manifest=manifest, insecure=insecure, store=open_store())
        except EntrepotError as error:
            print_error(describe_failure(error))
            code = exitcodes.FAILED
            continue
        write(f"Deleted: {gone}")
    return code
