"""`entrepot admin nodes`."""

from __future__ import annotations

import json
from typing import Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.exitcodes import FAILED, OK
from entrepot.cli.output import table, write


@click.command("nodes", short_help="List the machines that serve this registry")
@click.option(
    "--forget", "gone", metavar="NODE", help="Take a silent node that won't come back off the list."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON array.")
@click.pass_context
def nodes(ctx: click.Context, gone: str | None, as_json: bool) -> None:
    """List nodes and whether they can do their work. Exit code 1 when one of them can't."""
    from entrepot.server.control.health import forget_node, list_nodes

    if gone is not None:
        as_operator(lambda services, actor: forget_node(services, actor, gone), with_accounts=False)
        write(f"{gone} is no longer listed")
        return
    found = as_operator(list_nodes, with_accounts=False)
    if as_json:
        write(json.dumps([one.to_json() for one in found], indent=2))
    else:
        heads = ["NODE", "DOES", "STATE", "VERSION", "LAST SEEN", "LISTENS ON"]
        write(table(heads, [_row(one) for one in found]).rstrip("\n"))
        for one in found:
            for part, problem in one.detail.get("problems", {}).items():
                write(f"{one.id}: {part}: {problem}")
    ctx.exit(OK if all(one.is_healthy for one in found) else FAILED)


def _row(one: Any) -> list[str]:
    state = one.state if one.is_healthy or one.state != "alive" else "unwell"
    listens = ", ".join(one.detail.get("listen", ()))
    return [one.id, one.work, state, one.version, f"{one.silent_s:.0f}s ago", listens]
