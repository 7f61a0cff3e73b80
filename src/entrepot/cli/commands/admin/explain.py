"""`entrepot admin explain`."""

from __future__ import annotations

import click

from entrepot.cli.commands.admin import as_operator


@click.command("explain", short_help="Say why somebody may, or may not, do something")
@click.argument("user")
@click.argument("action")
@click.argument("where", metavar="REPO[:TAG]", default="")
@click.option("--format", "format_", type=click.Choice(["text", "json"]), default="text")
def explain(user: str, action: str, where: str, format_: str) -> None:
    """Say whether USER (or `anonymous`) may do ACTION on REPO[:TAG], and which grant or rule decides."""
    from entrepot.server.control.explain import explain as explain_decision
    from entrepot.server.control.explain import parse_target

    found = as_operator(
        lambda services, actor: explain_decision(services, actor, user, action, parse_target(where)),
        with_accounts=False,
    )
    if format_ == "json":
        import json

        click.echo(
            json.dumps(
                {
                    "user": user,
                    "action": found.action.value,
                    "where": where,
                    "allowed": found.decision.allowed,
                    "rule": found.decision.rule,
                    "reason": found.decision.reason,
                    "steps": list(found.steps),
                }
            )
        )
        return
    click.echo(f"{'yes' if found.decision.allowed else 'no'}: {found.decision.reason}")
    click.echo(f"rule: {found.decision.rule}")
    for step in found.steps:
        click.echo(f"  - {step}")
