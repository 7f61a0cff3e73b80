"""`entrepot config`: are the server's settings right, and what are they."""

from __future__ import annotations

from typing import Any, get_type_hints

import click


@click.command()
@click.argument("file", required=False)
def check(file: str | None) -> None:
    """Say whether settings are right: FILE, $ENTREPOT_CONFIG, and ENTREPOT_… variables.

    Every problem is a line; exit code 1 when there is one. Nothing is started or opened.
    """
    from entrepot.server.config.addresses import Address, parse_networks
    from entrepot.server.config.load import load_with_origins

    loaded = load_with_origins(file)
    config = loaded.config
    for text in (*config.server.listen, *config.metrics.listen, *config.admin.listen):
        Address.parse(text)
    parse_networks(config.server.behind_proxy)
    if config.tls.cert is not None and config.tls.key is not None:
        from entrepot.server.process.tls import check_pair

        check_pair(config.tls.cert, config.tls.key)
    count = len(loaded.origins)
    click.echo(f"settings are right ({count} set, the others at their defaults)")


@click.command()
@click.argument("file", required=False)
@click.option("--all", "all_", is_flag=True, help="Also those at their defaults.")
@click.option("--docs", is_flag=True, help="Every setting with its meaning, as Markdown.")
def show(file: str | None, all_: bool, docs: bool) -> None:
    """Print settings as TOML, with where each came from. Secrets are hidden."""
    from entrepot.server.config.load import SECTIONS, load_with_origins
    from entrepot.server.config.reference import markdown
    from entrepot.server.config.values import show as shown

    if docs:
        click.echo(markdown(), nl=False)
        return
    loaded = load_with_origins(file)
    for section, kind in SECTIONS.items():
        hints = get_type_hints(kind)
        values: Any = getattr(loaded.config, section)
        lines = []
        for key, hint in hints.items():
            origin = loaded.origins.get(f"{section}.{key}")
            if origin is not None or all_:
                lines.append(f"{key} = {shown(getattr(values, key), hint)}  # {origin or 'default'}")
        if lines:
            click.echo(f"[{section}]\n" + "\n".join(lines) + "\n")
