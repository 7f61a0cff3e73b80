"""`entrepot admin migrate`: the catalog's schema as this version needs it."""

from __future__ import annotations

import click


@click.command()
def migrate() -> None:
    """Bring the catalog's schema up to date. `serve` does it by itself."""
    from entrepot.cli.commands.admin import admin_config
    from entrepot.server.compose import catalog_url, prepare_now
    from entrepot.server.db.migrate import schema_version
    from entrepot.server.supervisor import make_data_directory

    config = admin_config()
    make_data_directory(config.server.data)
    prepare_now(config)
    click.echo(f"the catalog has schema {schema_version(catalog_url(config))}")
