"""`entrepot sbom`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store, platform_option
from entrepot.cli.output import print_error, table, write

if TYPE_CHECKING:
    from entrepot.actions.inventory import Examined

FORMATS = ("table", "cyclonedx-json", "spdx-json")


@click.command("sbom", short_help="List the packages in an image")
@click.argument("target", metavar="IMAGE|DIR|ARCHIVE", shell_complete=complete_image)
@click.option("--format", "format_", type=click.Choice(FORMATS), default="table", show_default=True,
              help="Form of the answer")  # fmt: skip
@platform_option("Which image of several, as in linux/arm64")
def sbom(target: str, format_: str, platform: str | None) -> None:
    """List the packages in an image, an archive of one or a folder, and the layer that brought each."""
    from entrepot.actions.inventory import inventory_of

    subject = inventory_of(target, platform=platform, store=open_store())
    if format_ == "table":
        _print_table(subject)
    else:
        _print_document(subject, format_)
    report_problems(subject)


def report_problems(subject: Examined) -> None:
    """What could not be read, on stderr: a list with gaps must not look whole."""
    for path, reason in subject.inventory.problems:
        print_error(f"Warning: /{path} {reason}; its packages are missing from the list")


def _print_table(subject: Examined) -> None:
    rows = [
        [
            f"{found.package.group}:{found.package.name}" if found.package.group else found.package.name,
            found.package.version,
            found.package.ecosystem.value,
            layer_name(subject.layers, found.layer),
            f"/{found.path}",
        ]
        for found in subject.inventory.packages
    ]
    write(table(["NAME", "VERSION", "TYPE", "LAYER", "FOUND IN"], rows).rstrip("\n"))


def layer_name(layers: tuple[str, ...], index: int) -> str:
    """The beginning of a diff ID; empty for a folder."""
    return layers[index].partition(":")[2][:12] if index < len(layers) else ""


def _print_document(subject: Examined, format_: str) -> None:
    from entrepot import __version__
    from entrepot.cli.output import indented_json, utc_now
    from entrepot.inventory.sbom.bill import Bill
    from entrepot.inventory.sbom.cyclonedx import cyclonedx
    from entrepot.inventory.sbom.spdx import spdx

    bill = Bill(
        subject.inventory, subject.name, utc_now(), subject.digest, subject.layers, tool_version=__version__
    )
    write(indented_json(cyclonedx(bill) if format_ == "cyclonedx-json" else spdx(bill)))
