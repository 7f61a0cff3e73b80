"""`entrepot inspect` and `entrepot image inspect`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from entrepot.cli import exitcodes
from entrepot.cli.complete import complete_image
from entrepot.cli.container_options import complete_container
from entrepot.cli.options import format_option, open_store, platform_option
from entrepot.cli.output import indented_json, print_error, write

Find = Callable[[str], dict[str, Any]]
"""A name to its document. Raises EntrepotError."""


@click.command("inspect", short_help="Display detailed information on one or more images")
@click.argument("images", metavar="IMAGE [IMAGE...]", nargs=-1, required=True, shell_complete=complete_image)
@format_option("'json', or a Go template such as '{{.Config.Env}}'")
@platform_option("Only if the image is for this platform")
def image_inspect(images: tuple[str, ...], format_: str | None, platform: str | None) -> int:
    """Everything known of images, as JSON."""
    return print_documents(images, image_finder(platform), format_)


@click.command("inspect", short_help="Return low-level information on images and containers")
@click.argument(
    "names", metavar="NAME|ID [NAME|ID...]", nargs=-1, required=True, shell_complete=complete_image
)
@format_option("'json', or a Go template such as '{{.Config.Env}}'")
@click.option("-s", "--size", is_flag=True, help="Show the sizes of containers")
@click.option("--type", "kind", metavar="container|image", help="Only this kind of thing")
def inspect(names: tuple[str, ...], format_: str | None, size: bool, kind: str | None) -> int:
    """Everything known of containers and images, as JSON. A container comes first where both fit."""
    if kind not in (None, "", "container", "image"):
        print_error(f'unknown type: "{kind}": must be one of "container", "image"')
        return exitcodes.FAILED
    kind = kind or None
    return print_documents(names, object_finder(kind, size=size), format_)


@click.command("inspect", short_help="Display detailed information on one or more containers")
@click.argument(
    "containers",
    metavar="CONTAINER [CONTAINER...]",
    nargs=-1,
    required=True,
    shell_complete=complete_container,
)
@format_option("'json', or a Go template such as '{{.State.Status}}'")
@click.option("-s", "--size", is_flag=True, help="Show sizes")
def container_inspect(containers: tuple[str, ...], format_: str | None, size: bool) -> int:
    """Everything known of containers, as JSON."""
    return print_documents(containers, object_finder("container", size=size), format_)


def image_finder(platform: str | None) -> Find:
    from entrepot.actions.inspect import inspect_image

    store = open_store()
    return lambda name: inspect_image(name, platform=platform, store=store)


def object_finder(kind: str | None, *, size: bool) -> Find:
    """Containers first, then images, as `kind` allows."""
    from entrepot.errors import InvalidInput, NotFound

    finders = [find for name, find in _finders(size) if kind in (None, name)]

    def find(name: str) -> dict[str, Any]:
        for one in finders:
            try:
                return one(name)
            except (NotFound, InvalidInput):
                continue
        raise NotFound(f"No such object: {name}" if kind is None else f"No such {kind}: {name}")

    return find


def _finders(size: bool) -> list[tuple[str, Find]]:
    from entrepot.actions.uses import inspect_container

    store = open_store()
    return [
        ("container", lambda name: inspect_container(name, size=size, store=store)),
        ("image", image_finder(None)),
    ]


def print_documents(names: Sequence[str], find: Find, format_: str | None) -> int:
    """Print what is found, then say what is not; docker's order and exit codes."""
    from entrepot.cli.failures import describe_failure
    from entrepot.cli.templates import compile_template
    from entrepot.errors import EntrepotError

    as_template = format_ not in (None, "", "json")
    fill = compile_template(format_) if as_template and format_ else None
    found: list[Any] = []
    failures, code = [], exitcodes.OK
    for name in names:
        try:
            document = find(name)
            found.append(fill(document) if fill else document)
        except EntrepotError as error:
            failures.append(describe_failure(error))
            code = exitcodes.FAILED
    if fill:
        sys.stdout.write("".join(f"{text}\n" for text in found) or "\n")
    elif format_ == "json":
        from entrepot.cli.templates import to_json

        write(to_json(found))
    else:
        write(indented_json(found) if found else "[]")
    for failure in failures:
        print_error(failure)
    return code
