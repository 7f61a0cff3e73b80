"""`entrepot cp`."""

from __future__ import annotations

import sys

import click

from entrepot.cli.container_options import container_store
from entrepot.cli.options import insecure_option, open_store, platform_option


@click.command("cp", short_help="Copy files between a container and the host, or out of an image")
@click.option("-a", "--archive", is_flag=True, help="Keep owners")
@click.option("-L", "--follow-link", is_flag=True, help="Copy what a symbolic link leads to")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing (as always without a terminal)")
@platform_option("With an image for several platforms; this machine's otherwise")
@insecure_option()
@click.argument("source", metavar="CONTAINER:SRC|IMAGE:SRC|SRC|-")
@click.argument("target", metavar="CONTAINER:DEST|DEST|-")
def cp(
    source: str,
    target: str,
    archive: bool,
    follow_link: bool,
    quiet: bool,
    platform: str | None,
    insecure: bool,
) -> None:
    """Copy files or directories; `-` is a tar on standard input or output.

    A directory that is there gets SRC as a child; SRC/. copies what is inside of SRC. Out of an image, of
    the store or a registry, a tar is written (`-`); nothing is pulled for it.
    """
    from entrepot.actions.cp import CopyOptions, copy_from_container, copy_to_container
    from entrepot.actions.errors import BadRequest

    options = CopyOptions(archive=archive, follow_link=follow_link)
    from_container, source_path = split_argument(source)
    to_container, target_path = split_argument(target)
    if target == "-" and (image := image_of(source, from_container)) is not None:
        _out_of_image(*image, platform, insecure)
        return
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


def image_of(source: str, container: str) -> tuple[str, str] | None:
    """Image and path, when SRC speaks of an image: a name no container has, or one that none can have.

    The path begins at the first `:/` behind the place's kind.
    """
    kind = next((kind for kind in _KINDS if source.startswith(kind)), "")
    if not kind and source.startswith(("/", ".", "-")):
        return None
    name, colon, path = source.removeprefix(kind).partition(":/")
    if not colon or not name:
        return None
    if not kind and container == name and not _is_image_only(name):
        return None
    return kind + name, "/" + path


def _is_image_only(name: str) -> bool:
    """Whether the store has an image of the name and no container."""
    from entrepot.containers.records import Containers
    from entrepot.errors import EntrepotError

    store = open_store()
    try:
        Containers(store).find(name)
    except EntrepotError:
        pass
    else:
        return False
    try:
        store.resolve(name)
    except EntrepotError:
        return False
    return True


_KINDS = ("docker://", "docker-archive:", "docker-daemon:", "oci-archive:", "oci:", "store:")


def _out_of_image(image: str, path: str, platform: str | None, insecure: bool) -> None:
    from entrepot.actions.image_files import open_image_files, write_tar

    with open_image_files(image, platform=platform, insecure=insecure, store=open_store()) as files:
        write_tar(files, path, sys.stdout.buffer)
    sys.stdout.buffer.flush()
