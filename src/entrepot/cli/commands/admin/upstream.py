"""`entrepot admin upstream`: registries that proxy projects fetch from."""

from __future__ import annotations

import sys
from typing import Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import print_rows
from entrepot.cli.options import format_option

VISIBILITY = click.Choice(["private", "signed-in", "public"])


@click.group("upstream", short_help="Upstreams: other registries to pull through")
def upstream() -> None:
    """Upstreams: other registries, whose images a proxy project fetches as they are pulled, and keeps."""


@upstream.command("add", short_help="Make a project that pulls through another registry")
@click.argument("name")
@click.argument("url")
@click.option("--visibility", type=VISIBILITY, help="Of the project: private with an account, else public.")
@click.option("--username", metavar="NAME", help="Account to pull with; needs --password-stdin.")
@click.option("--password-stdin", is_flag=True, help="Read its password or token from standard input.")
@click.option("--inside", is_flag=True, help="It may have an address of a private network.")
@click.option("--whole", is_flag=True, help="Ask it for names of no project here too (docker's mirror).")
@click.option("--allow", multiple=True, metavar="PATTERN", help="Fetch only such repositories of it.")
@click.option("--deny", multiple=True, metavar="PATTERN", help="Never fetch such repositories of it.")
def add(
    name: str,
    url: str,
    visibility: str | None,
    username: str | None,
    password_stdin: bool,
    inside: bool,
    whole: bool,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
) -> None:
    """Make proxy project NAME for the registry at URL, as: hub docker.io, or ghcr https://ghcr.io."""
    from entrepot.server.control import pull_through

    password = _read_password() if password_stdin else None
    made = as_operator(
        lambda services, actor: pull_through.add_upstream(
            services,
            actor,
            name=name,
            url=url,
            visibility=visibility,
            username=username,
            password=password,
            inside=inside,
            whole=whole,
            allow=allow,
            deny=deny,
        ),
        with_accounts=False,
    )
    click.echo(made.upstream.project)


@upstream.command("set", short_help="Change an upstream")
@click.argument("name")
@click.option("--username", metavar="NAME", help="Account to pull with; needs --password-stdin.")
@click.option("--password-stdin", is_flag=True, help="Read its password or token from standard input.")
@click.option("--no-account", is_flag=True, help="Pull without an account.")
@click.option("--inside/--no-inside", default=None, help="Whether it may have a private address.")
@click.option("--whole/--no-whole", default=None, help="Whether it is asked for names of no project here.")
@click.option("--allow", multiple=True, metavar="PATTERN", help="Fetch only such repositories; '**': all.")
@click.option("--deny", multiple=True, metavar="PATTERN", help="Never fetch such repositories.")
@click.option("--no-deny", is_flag=True, help="Deny nothing any more.")
def set_(
    name: str,
    username: str | None,
    password_stdin: bool,
    no_account: bool,
    inside: bool | None,
    whole: bool | None,
    allow: tuple[str, ...],
    deny: tuple[str, ...],
    no_deny: bool,
) -> None:
    """Change the upstream of proxy project NAME."""
    from entrepot.server.control import pull_through

    changes: dict[str, Any] = {}
    if no_account:
        changes.update(username=None, password=None)
    elif username is not None or password_stdin:
        changes.update(username=username, password=_read_password() if password_stdin else None)
    if inside is not None:
        changes["inside"] = inside
    if whole is not None:
        changes["whole"] = whole
    if allow:
        changes["allow"] = allow
    if deny or no_deny:
        changes["deny"] = deny
    as_operator(
        lambda services, actor: pull_through.change_upstream(services, actor, name, changes),
        with_accounts=False,
    )
    click.echo(name)


@upstream.command("list", short_help="List upstreams")
@format_option()
def list_(format_: str | None) -> None:
    """List upstreams: their addresses, and what they last answered."""
    from entrepot.server.control import pull_through

    rows: list[dict[str, Any]] = []
    for found in as_operator(pull_through.list_upstreams, with_accounts=False):
        state, one = found.state, found.upstream
        budget = "" if state.remaining is None else f"{state.remaining} of {state.limit}"
        rows.append(
            {
                "name": one.project,
                "url": one.address.url,
                "account": one.username or "",
                "visibility": found.visibility,
                "whole": one.whole,
                "budget": budget,
                "failure": state.failure or "",
            }
        )
    print_rows(("name", "url", "account", "visibility", "whole", "budget", "failure"), rows, format_)


@upstream.command("remove", short_help="Stop fetching; what has been fetched stays")
@click.argument("name")
def remove(name: str) -> None:
    """Make proxy project NAME a project like any other, with what has been fetched."""
    from entrepot.server.control import pull_through

    as_operator(
        lambda services, actor: pull_through.remove_upstream(services, actor, name), with_accounts=False
    )
    click.echo(name)


@upstream.command("snippet", short_help="Print what clients write into their settings")
@click.argument("name")
@click.option("--url", metavar="URL", help="The registry as clients reach it, when no setting says it.")
def snippet(name: str, url: str | None) -> None:
    """Print the settings of clients that are to pull through proxy project NAME."""
    from entrepot.server.control import pull_through

    found = as_operator(
        lambda services, actor: pull_through.show_snippets(
            services, actor, name, base_url=(url or _own_url(services.config.server)).rstrip("/")
        ),
        with_accounts=False,
    )
    for number, one in enumerate(found):
        click.echo(("\n" if number else "") + f"# {one.client}: {one.where}\n{one.text}")


def _own_url(server: Any) -> str:
    return str(server.public_url or f"http://{server.listen[0]}")


def _read_password() -> str:
    return sys.stdin.readline().rstrip("\r\n")
