"""`entrepot logout`."""

from __future__ import annotations

import click

from entrepot.cli.output import write


@click.command("logout", short_help="Log out from a registry")
@click.argument("server", metavar="[SERVER]", required=False)
def logout(server: str | None) -> None:
    """Forget the account of a registry, Docker Hub's when none is named."""
    from entrepot.actions import login as accounts

    write(f"Removing login credentials for {accounts.shown_registry(server)}")
    accounts.logout(server)
