"""`entrepot manifest create|annotate|inspect|push|rm`."""

from __future__ import annotations

import sys
from typing import Any

import click

from entrepot.cli import exitcodes
from entrepot.cli.options import insecure_option, open_store
from entrepot.cli.output import print_error, write


@click.command("create", short_help="Create a local manifest list, to be annotated and pushed")
@click.option("-a", "--amend", is_flag=True, help="Add to a list that is there")
@click.option("--push", is_flag=True, help="Make it and push it in one step; nothing is kept here")
@click.option("--annotation", "annotations", multiple=True, metavar="NAME=VALUE", help="Annotate the index")
@insecure_option()
@click.argument("name", metavar="MANIFEST_LIST")
@click.argument("images", metavar="MANIFEST [MANIFEST...]", nargs=-1, required=True)
def create(
    name: str, images: tuple[str, ...], amend: bool, push: bool, annotations: tuple[str, ...], insecure: bool
) -> None:
    """Make an index of images for several platforms.

    An image is a name in a registry or in the local store, or a place such as oci-archive:FILE. It may be an
    index
    itself: its images, attestations and annotations are taken over.
    """
    from entrepot.actions.manifest_create import create_and_push, create_manifest
    from entrepot.actions.manifest_push import PushedManifest

    notes = read_annotations(annotations)
    if push:

        def tell(pushed: PushedManifest) -> None:
            write(f"Pushed ref {pushed.reference} with digest: {pushed.digest}")

        done = create_and_push(
            name, images, annotations=notes, insecure=insecure, store=open_store(), on_pushed=tell
        )
        write(str(done.digest))
        return
    made = create_manifest(
        name, images, amend=amend, annotations=notes, insecure=insecure, store=open_store()
    )
    write(f"Created manifest list {made.name}")


def read_annotations(items: tuple[str, ...]) -> dict[str, str]:
    """`index:NAME=VALUE` or `NAME=VALUE`."""
    pairs = (item.removeprefix("index:").partition("=") for item in items)
    return {name: value for name, _, value in pairs if name}


@click.command("annotate", short_help="Add additional information to a local image manifest")
@click.option("--arch", metavar="ARCH", help="Architecture")
@click.option("--os", "os_", metavar="OS", help="Operating system")
@click.option("--os-version", metavar="VERSION", help="Version of the operating system")
@click.option("--os-features", multiple=True, metavar="FEATURE", help="Features of the operating system")
@click.option("--variant", metavar="VARIANT", help="Variant of the architecture")
@click.option("--annotation", "annotations", multiple=True, metavar="NAME=VALUE", help="Annotate the image")
@click.argument("name", metavar="MANIFEST_LIST")
@click.argument("image", metavar="MANIFEST")
def annotate(
    name: str,
    image: str,
    arch: str | None,
    os_: str | None,
    os_version: str | None,
    os_features: tuple[str, ...],
    variant: str | None,
    annotations: tuple[str, ...],
) -> None:
    """Say for which platform an image of a list is, where its own config says it wrongly or not at all."""
    from entrepot.actions.manifest_annotate import PlatformChange, annotate_manifest

    features = [feature for item in os_features for feature in item.split(",") if feature]
    change = PlatformChange(os_, arch, variant, os_version, features, read_annotations(annotations))
    annotate_manifest(name, image, change, store=open_store())


@click.command("inspect", short_help="Display an image manifest, or manifest list")
@click.option("-v", "--verbose", is_flag=True, help="Descriptors and manifests of all platforms")
@insecure_option()
@click.argument("names", metavar="[MANIFEST_LIST] MANIFEST", nargs=-1, required=True)
def inspect(names: tuple[str, ...], verbose: bool, insecure: bool) -> int:
    """Show a manifest or index: of a list in progress, else of the registry, else of the local store."""
    from entrepot.actions.manifest_inspect import inspect_manifest

    if len(names) > 2:
        print_error("'entrepot manifest inspect' requires at least 1 and at most 2 arguments")
        return exitcodes.FAILED
    in_list = names[0] if len(names) == 2 else None
    document = inspect_manifest(
        names[-1], in_list=in_list, verbose=verbose, insecure=insecure, store=open_store()
    )
    write(_formatted(document, verbose))
    return exitcodes.OK


def _formatted(document: Any, verbose: bool) -> str:
    """docker indents lists by three spaces and single manifests by a tab."""
    import json

    is_list = isinstance(document, dict) and "manifests" in document
    indent: int | str = 3 if is_list else "\t"
    return json.dumps(document, indent=indent if not verbose else "\t", ensure_ascii=False)


@click.command("push", short_help="Push a manifest list to a repository")
@click.option("-p", "--purge", is_flag=True, help="Forget the list after the push")
@insecure_option()
@click.argument("name", metavar="MANIFEST_LIST")
def push(name: str, purge: bool, insecure: bool) -> None:
    """Send a list, with the images that its repository lacks."""
    from entrepot.actions.manifest_push import push_manifest

    done = push_manifest(
        name,
        purge=purge,
        insecure=insecure,
        store=open_store(),
        on_pushed=lambda pushed: write(f"Pushed ref {pushed.reference} with digest: {pushed.digest}"),
    )
    write(str(done.digest))


@click.command("rm", short_help="Delete one or more manifest lists from local storage")
@click.argument("names", metavar="MANIFEST_LIST [MANIFEST_LIST...]", nargs=-1, required=True)
def rm(names: tuple[str, ...]) -> int:
    """Forget lists in progress. What was pushed stays where it is."""
    from entrepot.actions.manifest_rm import remove_manifest
    from entrepot.cli.failures import describe_failure
    from entrepot.errors import EntrepotError

    code = exitcodes.OK
    for name in names:
        try:
            remove_manifest(name, store=open_store())
        except EntrepotError as error:
            sys.stdout.flush()
            print_error(describe_failure(error))
            code = exitcodes.FAILED
    return code
