"""`entrepot completion`: the script a shell reads to complete commands, flags and image names."""

from __future__ import annotations

import click


@click.command("completion", short_help="Print a completion script for bash, zsh or fish")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print a completion script for your shell.

    \b
      bash:  source <(entrepot completion bash)
      zsh:   source <(entrepot completion zsh)
      fish:  entrepot completion fish | source
    """
    from click.shell_completion import get_completion_class

    from entrepot.cli.main import cli

    writer = get_completion_class(shell)
    if writer is None:  # pragma: no cover - the choice above lists what click has
        raise click.UsageError(f"no completion for {shell}")
    click.echo(writer(cli, {}, "entrepot", "_ENTREPOT_COMPLETE").source())
