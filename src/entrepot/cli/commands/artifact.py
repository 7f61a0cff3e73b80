"""`entrepot artifact` and `attach`."""

from __future__ import annotations

from pathlib import Path

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.options import insecure_option, long_format_option, open_store, quiet_option
from entrepot.cli.output import Column, Listing, human_size, print_listing, write

LISTING = Listing(
    (
        Column("Type", "TYPE"),
        Column("Digest", "DIGEST"),
        Column("Size", "SIZE"),
        Column("Created", "CREATED"),
    ),
    ("Type", "Digest", "Size", "Created"),
    ("Type", "Digest", "Size", "Created", "Annotations"),
    "Digest",
)


def _split(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    pairs = [value.partition("=") for value in values]
    wrong = next((name for name, equals, _ in pairs if not equals or not name), None)
    if wrong is not None:
        raise click.BadParameter(f"{wrong!r} is not KEY=VALUE")
    return {name: text for name, _, text in pairs}


@click.command("put", short_help="Put files into a registry")
@click.argument("name", metavar="NAME[:TAG]")
@click.argument("files", metavar="FILE[:TYPE]...", nargs=-1)
@click.option("--artifact-type", metavar="TYPE", help="What it is, as a media type")
@click.option("-a", "--annotation", "annotations", metavar="KEY=VALUE", multiple=True, callback=_split,
              help="Of the artifact (can be given several times)")  # fmt: skip
@quiet_option("Print only the digest")
@insecure_option()
def put(
    name: str, files: tuple[str, ...], artifact_type: str | None, annotations: dict[str, str], quiet: bool,
    insecure: bool,
) -> None:  # fmt: skip
    """Put files under a name, each with its media type, as oras does."""
    from entrepot.actions.artifact import put as action

    done = action(
        name,
        files,
        artifact_type=artifact_type,
        annotations=annotations,
        insecure=insecure,
        store=open_store(),
    )
    write(str(done.digest) if quiet else f"{done.name}: {done.digest}")


@click.command("get", short_help="Write an artifact's files into a folder")
@click.argument("name", metavar="NAME[:TAG|@DIGEST]")
@click.option("-o", "--output", metavar="DIR", type=click.Path(path_type=Path), default=Path(),
              help="Where to; unless said, here")  # fmt: skip
@quiet_option("Print nothing")
@insecure_option()
def get(name: str, output: Path, quiet: bool, insecure: bool) -> None:
    """Write an artifact's files into a folder, verified; files of the same name are replaced."""
    from entrepot.actions.artifact import get as action

    for file in action(name, output, insecure=insecure, store=open_store()):
        if not quiet:
            write(f"{file.path}  {file.digest}  {human_size(file.size)}")


@click.command("list", short_help="List what belongs to an image")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.option("--artifact-type", metavar="TYPE", help="Only of this type")
@quiet_option("Print only digests")
@long_format_option()
@insecure_option()
def list_(image: str, artifact_type: str | None, quiet: bool, format_: str | None, insecure: bool) -> None:
    """List the artifacts whose subject is IMAGE: signatures, attestations, bills of materials, files."""
    from entrepot.actions.artifact import CREATED, list_artifacts

    found = list_artifacts(image, artifact_type=artifact_type, insecure=insecure, store=open_store())
    if quiet:
        for one in found:
            write(str(one.digest))
        return
    rows = [
        {
            "Type": one.artifact_type or "", "Digest": str(one.digest), "Size": human_size(one.size),
            "Created": one.annotations.get(CREATED, ""), "Annotations": dict(one.annotations),
        }
        for one in found
    ]  # fmt: skip
    print_listing(LISTING, rows, format_=format_)


@click.command("attach", short_help="Put files that belong to an image")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.argument("files", metavar="FILE[:TYPE]...", nargs=-1)
@click.option("--artifact-type", metavar="TYPE", required=True, help="What it is, as a media type")
@click.option("-a", "--annotation", "annotations", metavar="KEY=VALUE", multiple=True, callback=_split,
              help="Of the artifact (can be given several times)")  # fmt: skip
@quiet_option("Print only the digest")
@insecure_option()
def attach(
    image: str, files: tuple[str, ...], artifact_type: str, annotations: dict[str, str], quiet: bool,
    insecure: bool,
) -> None:  # fmt: skip
    """Put files beside IMAGE as an artifact whose subject it is."""
    from entrepot.actions.artifact import attach as action

    done = action(
        image,
        files,
        artifact_type=artifact_type,
        annotations=annotations,
        insecure=insecure,
        store=open_store(),
    )
    write(str(done.digest) if quiet else f"{done.name}: {done.digest}")
