"""`entrepot cp`."""

from __future__ import annotations

import sys

import click

from entrepot.cli.container_options import container_store


@click.command("cp", short_help="Copy files between a container and the host")
@click.option("-a", "--archive", is_flag=True, help="Keep owners")
@click.option("-L", "--follow-link", is_flag=True, help="Copy what a symbolic link leads to")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing (as always without a terminal)")
@click.argument("source", metavar="CONTAINER:SRC|SRC|-")
@click.argument("target", metavar="CONTAINER:DEST|DEST|-")
def cp(source: str, target: str, archive: bool, follow_link: bool, quiet: bool) -> None:
    """Copy files or directories; `-` is a tar on standard input or output.

    A directory that is there gets SRC as a child; SRC/. copies what is inside of SRC.
    """
    from entrepot.actions.cp import CopyOptions, copy_from_container, copy_to_container
    from entrepot.actions.errors import BadRequest

    options = CopyOptions(archive=archive, follow_link=follow_link)
    from_container, source_path = split_argument(source)
    to_container, target_path = split_argument(target)
    if from_container and to_container:
        raise BadRequest("copying between containers is not supported")
    if from_container:
        place = target_path if target_path != "-" else sys.stdout.buffer
        store = container_store(from_container)
        copy_from_container(from_container, source_path, place, options=options, store=store)
    elif to_container:
        given = source_path if source_path != "-" else sys.stdin.buffer
        store = container_store(to_container)
        copy_to_container(given, to_container, target_path, options=options, store=store)
    else:
        raise BadRequest("must specify at least one container source")
    if not quiet and sys.stderr.isatty() and target_path != "-":
        sys.stderr.write(f"Successfully copied to {target}\n")


def split_argument(text: str) -> tuple[str, str]:
    """Container and path; no container for what begins with `/` or `.`, and for `-`."""
    if text.startswith(("/", ".")) or text == "-":
        return "", text
    name, colon, path = text.partition(":")
    return (name, path or "/") if colon and "/" not in name else ("", text)
