"""`entrepot run`."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli import exitcodes
from entrepot.cli.complete import complete_image
from entrepot.cli.container_options import (
    CONTEXT,
    DockerCommand,
    check_cidfile,
    container_store,
    create_flags,
    detach_keys_option,
    fetch_image,
    read_options,
    say_missing,
    write_cidfile,
)
from entrepot.cli.output import print_error, write

if TYPE_CHECKING:
    from entrepot.containers.lifecycle import Lifecycle
    from entrepot.containers.records import Container


@click.command(
    "run",
    cls=DockerCommand,
    short_help="Create and run a new container from an image",
    context_settings=CONTEXT,
)
@create_flags
@click.option("-d", "--detach", is_flag=True, help="Run in the background and print the container's ID")
@click.option(
    "-a", "--attach", multiple=True, metavar="STREAM", help="Attach to STDIN, STDOUT or STDERR only"
)
@detach_keys_option
@click.option("--sig-proxy/--no-sig-proxy", default=True, help="Pass signals on to the process")
@click.argument("image", metavar="IMAGE", shell_complete=complete_image)
@click.argument("command", metavar="[COMMAND] [ARG...]", nargs=-1, type=click.UNPROCESSED)
def run(
    image: str,
    command: tuple[str, ...],
    detach: bool,
    attach: tuple[str, ...],
    sig_proxy: bool,
    detach_keys: str,
    **flags: Any,
) -> int:
    """Run a command in a new container. The exit code is the command's.

    125: the container could not be made or started. 126: the command cannot be run. 127: it is not there.
    """
    from entrepot.containers.options import parse_detach_keys
    from entrepot.errors import EntrepotError

    try:
        if flags["tty"] and flags["interactive"] and not detach and not sys.stdin.isatty():
            print_error("the input device is not a TTY")
            return exitcodes.FAILED
        keys = parse_detach_keys(detach_keys)
        return _run(image, command, detach=detach, attach=attach, sig_proxy=sig_proxy, keys=keys, flags=flags)
    except EntrepotError as error:
        return report(error)


def report(error: Exception) -> int:
    """docker's way of telling that a container did not start."""
    from entrepot.cli.failures import describe_failure

    print_error(f"entrepot: {describe_failure(error)}")
    print_error("\nRun 'entrepot run --help' for more information")
    return int(getattr(error, "run_exit_code", exitcodes.BAD_USAGE))


def _run(
    image: str,
    command: tuple[str, ...],
    *,
    detach: bool,
    attach: tuple[str, ...],
    sig_proxy: bool,
    keys: bytes,
    flags: dict[str, Any],
) -> int:
    from entrepot.actions.create import create_container, lifecycle_of

    options = read_options(flags, attach=not detach)
    check_cidfile(flags["cidfile"])
    store = container_store()
    container = create_container(
        image,
        command,
        options=options,
        pull=flags["pull"],
        platform=flags["platform"],
        store=store,
        on_missing=say_missing,
        fetch=fetch_image(flags["platform"], quiet=flags["quiet"]),
    )
    write_cidfile(flags["cidfile"], container.id)
    lifecycle = lifecycle_of(store)
    streams = {stream.lower() for stream in attach}
    stdin = flags["interactive"] and not detach and (not streams or "stdin" in streams)
    if detach:
        write(container.id)  # first, as docker: one that cannot be started is there nevertheless
    try:
        _, sock = lifecycle.start(container, stdin=stdin)
    except BaseException:
        if options.auto_remove:
            _remove_quietly(lifecycle, container)
        raise
    with sock:
        if detach:
            return exitcodes.OK
        return attach_streams(
            lifecycle, container, sock, stdin=stdin, sig_proxy=sig_proxy, streams=streams, detach_keys=keys
        )


def _remove_quietly(lifecycle: Lifecycle, container: Container) -> None:
    from entrepot.errors import EntrepotError

    with contextlib.suppress(EntrepotError, OSError):
        lifecycle.remove(container, volumes=True)


def attach_streams(
    lifecycle: Lifecycle,
    container: Container,
    sock: Any,
    *,
    stdin: bool,
    sig_proxy: bool,
    streams: set[str] | frozenset[str] = frozenset(),
    detach_keys: bytes | None = None,
) -> int:
    """Stay with a container until it ends; its exit code."""
    from entrepot.containers.attach import DETACH_KEYS, attach
    from entrepot.containers.frames import FrameKind
    from entrepot.errors import EntrepotError

    def forward(number: int) -> None:
        with contextlib.suppress(EntrepotError):
            lifecycle.send_signal(container, str(number))

    output = None
    if streams & {"stdout", "stderr"}:

        def output(kind: FrameKind, data: bytes) -> None:
            name = "stdout" if kind is FrameKind.STDOUT else "stderr"
            if name in streams:
                stream = getattr(sys, name)
                stream.buffer.write(data)
                stream.flush()

    sys.stdout.flush()
    return attach(
        sock,
        stdin=stdin,
        terminal=container.process.tty,
        output=output,
        forward=forward if sig_proxy else None,
        detach_keys=DETACH_KEYS if detach_keys is None else detach_keys,
    )
