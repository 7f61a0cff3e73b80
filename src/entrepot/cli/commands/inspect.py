"""`entrepot inspect`, `entrepot image inspect` and `entrepot container inspect`."""

from __future__ import annotations

import click

from entrepot.cli.complete import complete_image
from entrepot.cli.container_options import complete_container
from entrepot.cli.options import format_option, platform_option


@click.command("inspect", short_help="Display detailed information on one or more images")
@click.argument("images", metavar="IMAGE [IMAGE...]", nargs=-1, required=True, shell_complete=complete_image)
@format_option("'json', or a Go template such as '{{.Config.Env}}'")
@platform_option("Only if the image is for this platform")
def image_inspect(images: tuple[str, ...], format_: str | None, platform: str | None) -> int:
    """Everything known of images, as JSON."""
    from entrepot.cli.doing.inspect import image_finder, print_documents

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
    from entrepot.cli.doing.inspect import show_objects

    return show_objects(names, format_=format_, size=size, kind=kind)


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
    from entrepot.cli.doing.inspect import object_finder, print_documents

    return print_documents(containers, object_finder("container", size=size), format_)
