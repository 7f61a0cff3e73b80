"""`entrepot version`."""

from __future__ import annotations

import platform

import click

from entrepot.cli.options import format_option
from entrepot.cli.output import write


@click.command("version", short_help="Show the version")
@format_option("'json', or a Go template such as '{{.Client.Version}}'")
def version(format_: str | None) -> None:
    """The version of entrepot and of what it stands on."""
    from entrepot.cli.templates import render, to_json

    own = about()
    # There is no daemon: what scripts ask a server for is this program.
    document = {"Client": own, "Server": own}
    if format_ == "json":
        write(to_json(document))
    elif format_:
        write(render(format_, document))
    else:
        write("Client:")
        write(f" Version:           {own['Version']}")
        write(f" Python version:    {own['PythonVersion']}")
        write(f" OS/Arch:           {own['Os']}/{own['Arch']}")


def about() -> dict[str, str]:
    """docker's names for what is known of this program and machine."""
    from entrepot import __version__
    from entrepot.oci.platform import Platform

    machine = Platform.host()
    return {
        "Version": __version__,
        "PythonVersion": platform.python_version(),
        "Os": machine.os,
        "Arch": machine.architecture,
        "KernelVersion": platform.release(),
    }
