"""`entrepot mutate`, `append`, `flatten` and `rebase`: new images without running anything."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import open_store
from entrepot.cli.output import write

_tag = click.option(
    "-t", "--tag", "target", metavar="NAME[:TAG]", help="Name of the new image (default: IMAGE moves to it)"
)
_timestamp = click.option(
    "--timestamp", metavar="TIME", help="Latest time in the image: the same input gives the same image"
)
_image = click.argument("image", metavar="IMAGE", shell_complete=complete_image)


@click.command("mutate", short_help="Change the settings of an image")
@_image
@_tag
@click.option(
    "-e", "--env", multiple=True, metavar="NAME=VALUE", help="Set a variable; NAME alone removes it"
)
@click.option("-l", "--label", multiple=True, metavar="NAME=VALUE", help="Set a label; NAME alone removes it")
@click.option("--entrypoint", metavar="COMMAND", help="Entry point, split as a shell does; empty removes it")
@click.option("--cmd", metavar="COMMAND", help="Command, split as a shell does; empty removes it")
@click.option("-u", "--user", metavar="USER", help="User; empty removes it")
@click.option("-w", "--workdir", metavar="DIR", help="Working directory; empty removes it")
@click.option("--platform", metavar="PLATFORM", help="os/arch[/variant]; the files stay what they are")
@click.option("--created", metavar="TIME", help="Time of the image and its history")
@click.option("--author", metavar="TEXT", help="Author")
@click.option(
    "-c", "--change", "changes", multiple=True, metavar="INSTRUCTION", help="Dockerfile instruction"
)
def mutate(image: str, target: str | None, changes: tuple[str, ...], **flags: Any) -> None:
    """Make an image with the same layers and other settings. Prints its ID."""
    from entrepot.actions.mutate import Mutation, mutate_image
    from entrepot.layers.reproducible import creation_time, parse_timestamp

    mutation = Mutation(
        env=_pairs(flags["env"]),
        labels=_pairs(flags["label"]),
        entrypoint=_words(flags["entrypoint"]),
        cmd=_words(flags["cmd"]),
        user=flags["user"],
        working_dir=flags["workdir"],
        platform=flags["platform"],
        created=creation_time(parse_timestamp(flags["created"])) if flags["created"] else None,
        author=flags["author"],
        changes=changes,
    )
    write(str(mutate_image(image, target, mutation=mutation, store=open_store()).id))


def _pairs(items: tuple[str, ...]) -> dict[str, str | None]:
    parts = (item.partition("=") for item in items)
    return {name: value if equals else None for name, equals, value in parts}


def _words(text: str | None) -> list[str] | None:
    return None if text is None else shlex.split(text)


@click.command("append", short_help="Add a tar or a directory to an image as a layer")
@_image
@click.argument("source", metavar="FILE|DIR|-")
@_tag
@click.option("--prefix", metavar="DIR", default="", help="Where a directory's content goes in the image")
@click.option("-m", "--message", metavar="TEXT", default="", help="Comment in the history")
@click.option("--platform", metavar="PLATFORM", help="Of an image made from scratch")
@_timestamp
def append(
    image: str,
    source: str,
    target: str | None,
    prefix: str,
    message: str,
    platform: str | None,
    timestamp: str | None,
) -> None:
    """Make an image with one layer more; IMAGE may be 'scratch'. Prints its ID."""
    from entrepot.actions.append import append_layer

    given: Any = sys.stdin.buffer if source == "-" else source
    made = append_layer(
        image,
        given,
        target,
        prefix=prefix,
        message=message,
        platform=platform,
        timestamp_s=_seconds(timestamp),
        store=open_store(),
    )
    write(str(made.id))


@click.command("flatten", short_help="Make one layer of all layers of an image")
@_image
@_tag
@_timestamp
def flatten(image: str, target: str | None, timestamp: str | None) -> None:
    """Make an image with the same files and settings and a single layer. Prints its ID."""
    from entrepot.actions.flatten import flatten_image

    write(str(flatten_image(image, target, timestamp_s=_seconds(timestamp), store=open_store()).id))


@click.command("rebase", short_help="Put an image's own layers on another base")
@_image
@click.argument("new_base", metavar="NEW_BASE", shell_complete=complete_image)
@click.option("--old-base", metavar="IMAGE", help="What it is based on, when that cannot be told")
@_tag
@_timestamp
def rebase(
    image: str, new_base: str, old_base: str | None, target: str | None, timestamp: str | None
) -> None:
    """Replace the base of an image without building it again. Prints the new image's ID.

    Sound where the upper layers do not depend on what changed below: as with security updates of a base
    image.
    """
    from entrepot.actions.rebase import rebase_image

    made = rebase_image(
        image, new_base, target, old_base=old_base, timestamp_s=_seconds(timestamp), store=open_store()
    )
    write(str(made.id))


def _seconds(timestamp: str | None) -> int | None:
    from entrepot.layers.reproducible import parse_timestamp

    return parse_timestamp(timestamp) if timestamp else None
