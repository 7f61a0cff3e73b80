"""`entrepot help`: the help of a command, under the words people type first."""

from __future__ import annotations

import click

from entrepot.errors import InvalidInput


class UnknownTopic(InvalidInput):
    """No command has this name."""

    code = "unknown-help-topic"
    bare = True


@click.command("help", short_help="Show help on a command")
@click.argument("command", metavar="[COMMAND...]", nargs=-1)
def help_(command: tuple[str, ...]) -> None:
    """Show what COMMAND does and the options it takes; without COMMAND, all there are."""
    found: click.Command = click.get_current_context().find_root().command
    ctx = click.Context(found, info_name="entrepot", **found.context_settings)
    for word in command:
        inner = found.get_command(ctx, word) if isinstance(found, click.Group) else None
        if inner is None:
            raise UnknownTopic(f"unknown help topic: {' '.join(command)}")
        found = inner
        ctx = click.Context(found, parent=ctx, info_name=word)
    click.echo(found.get_help(ctx))
