"""`entrepot completion`: the script a shell reads to complete commands, flags and image names."""

from __future__ import annotations

import click

BASH = """\
_entrepot_completion() {
    local line=${COMP_LINE:0:COMP_POINT} prefix="" type value
    local -a words
    read -ra words <<< "$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    # bash takes a colon for the end of a word, and puts what it is told behind the last one.
    if [[ $COMP_WORDBREAKS == *:* ]]; then
        prefix=${words[-1]%"${words[-1]##*:}"}
    fi
    COMPREPLY=()
    while IFS=, read -r type value; do
        case $type in
            dir) compopt -o dirnames ;;
            file) compopt -o default ;;
            plain) COMPREPLY+=("${value#"$prefix"}") ;;
        esac
    done < <(COMP_WORDS="$line" COMP_CWORD=$((${#words[@]} - 1)) _ENTREPOT_COMPLETE=bash_complete "$1")
}
complete -o nosort -F _entrepot_completion entrepot
"""
"""click's own script knows nothing of the colons in names of images."""


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

    if shell == "bash":
        click.echo(BASH, nl=False)
        return
    writer = get_completion_class(shell)
    if writer is None:  # pragma: no cover - the choice above lists what click has
        raise click.UsageError(f"no completion for {shell}")
    click.echo(writer(cli, {}, "entrepot", "_ENTREPOT_COMPLETE").source())
