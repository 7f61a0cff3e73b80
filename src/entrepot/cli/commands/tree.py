"""`entrepot tree`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, open_store
from entrepot.cli.output import human_size, write

if TYPE_CHECKING:
    from entrepot.actions.tree import ReferrerTree


@click.command("tree", short_help="Show an image, its platforms and what belongs to them")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.option(
    "--format", "format_", type=click.Choice(["text", "json"]), default="text", help="How it is shown"
)
@insecure_option()
def tree(image: str, format_: str, insecure: bool) -> None:
    """Show an image with its platforms, signatures, attestations and other artifacts, and theirs.

    What is shown is what they say they are; 'verify' says whose word it is.
    """
    from entrepot.actions.tree import tree as action

    found = action(image, insecure=insecure, store=open_store())
    if format_ == "json":
        import msgspec

        write(msgspec.json.format(msgspec.json.encode(found.to_json()), indent=2).decode())
        return
    write(_line(found))
    for line in _lines(found, ""):
        write(line)


def _lines(node: ReferrerTree, before: str) -> Iterator[str]:
    for number, child in enumerate(node.children, 1):
        last = number == len(node.children)
        yield f"{before}{'└── ' if last else '├── '}{_line(child)}"
        yield from _lines(child, f"{before}{'    ' if last else '│   '}")


def _line(node: ReferrerTree) -> str:
    return f"{node.label}  {node.descriptor.digest}  {human_size(node.descriptor.size)}"
