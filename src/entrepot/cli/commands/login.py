"""`entrepot login`."""

from __future__ import annotations

import getpass
import sys

import click

from entrepot.cli import exitcodes
from entrepot.cli.options import insecure_option
from entrepot.cli.output import is_terminal, print_error, write

UNENCRYPTED = (
    "",
    "WARNING! Your credentials are stored unencrypted in '{place}'.",
    "Configure a credential helper to remove this warning. See",
    "https://docs.docker.com/go/credential-store/",
    "",
)


@click.command("login", short_help="Authenticate to a registry")
@click.argument("server", metavar="[SERVER]", required=False)
@click.option("-u", "--username", metavar="NAME", help="User name")
@click.option("-p", "--password", metavar="PASSWORD", help="Password or access token (seen by others: rather "
              "use --password-stdin)")  # fmt: skip
@click.option("--password-stdin", is_flag=True, help="Read the password from stdin")
@insecure_option()
def login(
    server: str | None, username: str | None, password: str | None, password_stdin: bool, insecure: bool
) -> int:
    """Authenticate to a registry, Docker Hub when none is named.

    The password is checked before it is stored. It is stored where docker stores it: by a credential helper
    when one is configured, else in ~/.docker/config.json.
    """
    from entrepot.actions import login as accounts

    if password is not None and password_stdin:
        print_error("conflicting options: cannot specify both --password and --password-stdin")
        return exitcodes.FAILED
    if password is not None:
        print_error("WARNING! Using --password via the CLI is insecure. Use --password-stdin.")
    if password_stdin:
        if not username:
            print_error("the --password-stdin option requires --username to be set")
            return exitcodes.FAILED
        password = strip_line_end(sys.stdin.read())
    if not username and password is None:
        known = accounts.known_account(server)
        if known is not None and known.password:
            print_error(f"Authenticating with existing credentials... [Username: {known.username}]")
            print_error("")
            print_error(
                " Info -> To login with a different account, run 'entrepot logout' "
                "followed by 'entrepot login'"
            )
            print_error("")
            username, password = known.username, known.password
    username, password = _ask(username, password)
    done = accounts.login(server, username, password, insecure=insecure)
    if done.changed and not done.encrypted and not done.has_token:
        for line in UNENCRYPTED:
            print_error(line.format(place=done.place))
    write("Login Succeeded")
    return exitcodes.OK


def strip_line_end(text: str) -> str:
    """Without exactly one end of line: a password may begin and end with spaces."""
    for end in ("\r\n", "\n", "\r"):
        if text.endswith(end):
            return text.removesuffix(end)
    return text


def _ask(username: str | None, password: str | None) -> tuple[str, str]:
    """What was not given, from the person at the terminal. Raises BadRequest when nobody is there."""
    from entrepot.actions.errors import BadRequest

    if (username is None or password is None) and not is_terminal(sys.stdin):
        raise BadRequest("Error: Cannot perform an interactive login from a non TTY device")
    if username is None:
        username = input("Username: ")
    if password is None:
        password = getpass.getpass("Password: ")
    return username, password
