"""`entrepot exec`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from entrepot.cli import exitcodes
from entrepot.cli.container_options import CONTEXT, DockerCommand, complete_container, container_store
from entrepot.cli.output import print_error


@click.command(
    "exec", cls=DockerCommand, short_help="Execute a command in a running container", context_settings=CONTEXT
)
@click.option("-d", "--detach", is_flag=True, help="Leave it to itself")
@click.option("-e", "--env", "env", multiple=True, metavar="NAME=VALUE", help="Set a variable")
@click.option("--env-file", multiple=True, metavar="FILE", help="Read variables from a file")
@click.option("-i", "--interactive", is_flag=True, help="Send standard input")
@click.option("--privileged", is_flag=True, help="Give all capabilities")
@click.option("-t", "--tty", is_flag=True, help="Give the process a terminal")
@click.option("-u", "--user", metavar="NAME|UID[:GROUP|GID]", help="User, as the image knows it")
@click.option("-w", "--workdir", metavar="DIR", help="Working directory in the container")
@click.argument("container", metavar="CONTAINER", shell_complete=complete_container)
@click.argument("command", metavar="COMMAND [ARG...]", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(
    container: str,
    command: tuple[str, ...],
    detach: bool,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    interactive: bool,
    privileged: bool,
    tty: bool,
    user: str | None,
    workdir: str | None,
) -> int:
    """Run one more command in a running container. The exit code is the command's."""
    from entrepot.actions.exec import ExecOptions, exec_attached, exec_detached
    from entrepot.containers.errors import NoSuchUser, RuntimeFailed
    from entrepot.containers.options import parse_env, parse_env_file

    if tty and interactive and not detach and not sys.stdin.isatty():
        print_error("the input device is not a TTY")
        return exitcodes.FAILED
    lines = [line for file in env_file for line in parse_env_file(Path(file))]
    options = ExecOptions(
        user=user,
        env=parse_env([*lines, *env], os.environ),
        working_dir=workdir,
        tty=tty,
        privileged=privileged,
    )
    store = container_store(container)
    sys.stdout.flush()
    if detach:
        exec_detached(container, command, options=options, store=store)
        return exitcodes.OK
    try:
        return exec_attached(container, command, options=options, stdin=interactive, store=store)
    except NoSuchUser as error:
        print_error(error.message)
        return exitcodes.NOT_EXECUTABLE
    except RuntimeFailed as error:
        print_error(error.message)
        return error.run_exit_code
