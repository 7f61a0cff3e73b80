"""`entrepot admin policy …`: rules for retention and immutable tags."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from entrepot.cli.commands.admin import as_operator
from entrepot.cli.commands.admin.accounts import moment, print_rows
from entrepot.cli.options import format_option
from entrepot.cli.output import table, write
from entrepot.errors import Conflict, InvalidInput
from entrepot.wording import plural

if TYPE_CHECKING:
    from entrepot.server.control.policies import PolicyPreview

SHOWN = 1000
"""Rows of a plan that are printed; `--json` has all of them."""
_project = click.option("--project", metavar="NAME", help="One project's policy, not the registry's.")


@click.group("policy", short_help="Retention and immutable tags")
def policy() -> None:
    """Rules that keep a registry small and safe, each shown on what is here before it holds."""


@policy.command("export")
@_project
@click.option("--version", type=int, metavar="N", help="An earlier version.")
def export(project: str | None, version: int | None) -> None:
    """Print the policy that holds, as it was written."""
    from entrepot.server.control.policies import show_policy

    found = as_operator(
        lambda services, actor: show_policy(services, actor, project=project, version=version),
        with_accounts=False,
    )
    click.echo(found.text, nl=bool(found.text) and not found.text.endswith("\n"))


@policy.command("plan")
@click.argument("file", metavar="FILE")
@_project
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with every row.")
def plan(file: str, project: str | None, as_json: bool) -> None:
    """Show what a policy would change, remove and refuse; FILE may be `-`. Nothing changes."""
    from entrepot.server.control.policies import plan_policy

    text = _read(file)
    found = as_operator(
        lambda services, actor: plan_policy(services, actor, text, project=project), with_accounts=False
    )
    if as_json:
        write(json.dumps(_preview_json(found), indent=2))
    else:
        _write_preview(found)


@policy.command("apply")
@click.argument("file", metavar="FILE")
@_project
@click.option("--yes", is_flag=True, help="Ask nothing.")
def apply(file: str, project: str | None, yes: bool) -> None:
    """Put a policy in force. It is refused when it would not do any more what `policy plan` has shown."""
    from entrepot.server.control.policies import apply_policy, plan_policy

    text = _read(file)
    if not yes:
        found = as_operator(
            lambda services, actor: plan_policy(services, actor, text, project=project), with_accounts=False
        )
        _write_preview(found)
        if not found.diff:
            return
        click.confirm("Apply it?", abort=True)
    done = as_operator(
        lambda services, actor: apply_policy(services, actor, text, project=project), with_accounts=False
    )
    write(f"version {done.version} of the policy holds")


@policy.command("history")
@_project
@format_option()
def history(project: str | None, format_: str | None) -> None:
    """List the versions of a policy. The way back: `policy export --version N`, and apply that."""
    from entrepot.server.control.policies import list_policy_versions

    found = as_operator(
        lambda services, actor: list_policy_versions(services, actor, project=project), with_accounts=False
    )
    rows = [{"version": one.version, "at": moment(one.at), "by": one.by} for one in found]
    print_rows(("version", "at", "by"), rows, format_)


@policy.group("run")
def run() -> None:
    """Do now what a policy says."""


@run.command("retention")
@click.option("--dry-run", is_flag=True, help="Change nothing; tell what would go, and why.")
@click.option("--approve", type=int, metavar="RUN", help="Remove what this run waits to remove.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def run_retention_(dry_run: bool, approve: int | None, as_json: bool) -> None:
    """Remove the tags that no rule keeps. `entrepot admin policy undo RUN` brings them back.

    More than the policy's guard allows is not removed: the run waits until somebody approves it.
    """
    from entrepot.server.control.retention import plan_retention, run_retention

    if dry_run:
        found = as_operator(plan_retention, with_accounts=False)
        if as_json:
            write(json.dumps(_plan_json(found), indent=2))
        else:
            _write_plan(found)
        return
    done, found = as_operator(
        lambda services, actor: run_retention(services, actor, approve=approve), with_accounts=False
    )
    if as_json:
        write(json.dumps({"run": done.id, "state": done.state, "removed": done.rows, "kept": done.kept}))
    elif done.state != "waiting":
        _write_rows([row[:3] + row[4:] for row in done.rows])
        write(f"run {done.id}: removed {plural(done.removed, 'tag')}, kept {done.kept}")
        if done.reason:
            write(done.reason)
        if done.removed:
            write(f"to bring them back: entrepot admin policy undo {done.id}")
    else:
        _write_plan(found)
    if done.state == "waiting":
        raise Conflict(
            f"nothing was removed; run {done.id} waits for a person: {done.reason}",
            hint=f"when that is right: entrepot admin policy run retention --approve {done.id}",
        )


@policy.command("runs")
@format_option()
def runs(format_: str | None) -> None:
    """List the runs of retention, newest first."""
    from entrepot.server.control.retention import list_retention_runs

    found = as_operator(list_retention_runs, with_accounts=False)
    rows = [
        {
            "run": one.id,
            "at": moment(one.at),
            "by": one.by,
            "state": one.state,
            "removed": one.removed,
            "kept": one.kept,
            "reason": one.reason,
        }
        for one in found
    ]
    print_rows(("run", "at", "by", "state", "removed", "kept", "reason"), rows, format_)


@policy.command("undo")
@click.argument("number", metavar="RUN", type=int)
def undo(number: int) -> None:
    """Bring back what a run of retention removed, until the undo window ends."""
    from entrepot.server.control.retention import undo_retention_run

    back = as_operator(
        lambda services, actor: undo_retention_run(services, actor, number), with_accounts=False
    )
    write(f"brought back {plural(back, 'tag')}")


@policy.command("explain")
@click.argument("target", metavar="REPOSITORY[:TAG]")
@format_option()
def explain(target: str, format_: str | None) -> None:
    """Tell what retention will do to a tag, when, and by which rule."""
    from entrepot.server.control.retention import plan_repository

    repository, _, tag = target.partition(":")
    found = as_operator(
        lambda services, actor: plan_repository(services, actor, repository), with_accounts=False
    )
    rows = [
        {
            "tag": row.tag or row.digest,
            "decision": row.decision.value,
            "rule": row.rule or None,
            "why": row.why,
            "goes_at": moment(row.goes_at),
        }
        for row in found.rows
        if not tag or row.tag == tag
    ]
    if tag and not rows:
        raise InvalidInput(f"there is no tag {tag} in {repository}")
    print_rows(("tag", "decision", "rule", "why", "goes_at"), rows, format_)


def _read(file: str) -> str:
    try:
        if file == "-":
            return sys.stdin.read()
        with open(file, encoding="utf-8") as opened:  # noqa: PTH123 - as it was named
            return opened.read()
    except OSError as error:
        raise InvalidInput(f"{file} can't be read: {(error.strerror or '').lower()}") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{file} is no text in UTF-8") from None


def _write_preview(found: PolicyPreview) -> None:
    write("\n".join(found.diff) if found.diff else "the policy does not change")
    write("")
    _write_plan(found.plan)
    if found.refused:
        number = plural(len(found.refused), "push or deletion", "pushes and deletions")
        write(f"\nof the last 30 days, {number} would have been refused:")
        rows = [
            [f"{one.repository}:{one.tag}", one.what, moment(one.at) or "", one.by, one.rule]
            for one in found.refused[:SHOWN]
        ]
        write(table(["TAG", "WAS", "AT", "BY", "RULE"], rows).rstrip("\n"))


def _write_plan(plan_: Any) -> None:
    _write_rows([[row.repository, row.tag, row.digest, f"{row.rule}: {row.why}"] for row in plan_.removed])
    for rule, number in sorted(plan_.kept_by.items()):
        write(f"{rule} keeps {plural(number, 'tag')}")
    gone = sum(1 for row in plan_.removed if row.tag)
    untagged = len(plan_.removed) - gone
    more = f" and {plural(untagged, 'manifest')} without a tag" if untagged else ""
    write(f"would remove {plural(gone, 'tag')}{more}, keep {plan_.kept}")
    for reason in plan_.waits_for:
        write(f"a run would wait for a person: {reason}")


def _write_rows(rows: Sequence[Sequence[str]]) -> None:
    if not rows:
        return
    shown = [[f"{row[0]}:{row[1]}" if row[1] else row[0], row[2][:19], row[3]] for row in rows[:SHOWN]]
    write(table(["GOES", "DIGEST", "WHY"], shown).rstrip("\n"))
    if len(rows) > SHOWN:
        write(f"… and {len(rows) - SHOWN} more")


def _plan_json(plan_: Any) -> dict[str, Any]:
    return {
        "removed": [
            {
                "repository": row.repository,
                "tag": row.tag or None,
                "digest": row.digest,
                "rule": row.rule,
                "why": row.why,
            }
            for row in plan_.removed
        ],
        "kept": plan_.kept,
        "kept_by": plan_.kept_by,
        "waits_for": plan_.waits_for,
    }


def _preview_json(found: PolicyPreview) -> dict[str, Any]:
    refused = [
        {"repository": one.repository, "tag": one.tag, "was": one.what, "at": moment(one.at), "by": one.by,
         "rule": one.rule}
        for one in found.refused
    ]  # fmt: skip
    return {"base": found.base, "diff": found.diff, **_plan_json(found.plan), "refused": refused}
