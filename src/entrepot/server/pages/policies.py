"""The policy of a project, and of the registry: written beside what it would do."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from entrepot.errors import EntrepotError
from entrepot.server.access.decision.model import Action
from entrepot.server.control import policies, retention
from entrepot.server.control.policies import PolicyPreview
from entrepot.server.control.retention import RunRow
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.forms import PageForm
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit
from entrepot.server.pages.projects import project_head
from entrepot.wording import plural

__all__ = ["ROUTES"]

LONGEST: Final = 20_000
"""What a form takes, each character up to three bytes there."""
SHOWN: Final = 500
RUNS: Final = 20
MOST_DIGITS: Final = 18
STARTER: Final = """\
# Keep the last 5 releases of each minor version and what was pulled in 30 days; let the rest go.
[[retention]]
rest = "delete"
keep = [{ newest = 5, tags = "v*", per = "minor" }, { pulled-within = "30d" }]

# Releases stay what they are.
[[immutable]]
tags = "v*"
delete = "by-retention"
"""


@page("/projects/{project:str}/policy", Action.MANAGE_PROJECT)
async def of_project(visit: PageVisit, project: str) -> Response[Any]:
    return await _page(visit, project, *await _present(visit, project))


@submit("/projects/{project:str}/policy", Action.MANAGE_PROJECT)
async def change_of_project(visit: PageVisit, project: str) -> Response[Any]:
    return await _change(visit, project)


@page("/admin/policy", Action.READ_SYSTEM)
async def of_registry(visit: PageVisit) -> Response[Any]:
    return await _page(visit, None, *await _present(visit, None))


@submit("/admin/policy", Action.MANAGE_SYSTEM)
async def change_of_registry(visit: PageVisit) -> Response[Any]:
    return await _change(visit, None)


@submit("/admin/policy/runs", Action.MANAGE_SYSTEM)
async def runs(visit: PageVisit) -> Response[Any]:
    """Run retention, let a run go on that waits, or take one back."""
    form = await visit.form()
    what, number = form.choice("do", ("run", "approve", "undo")), _number(form["run"])
    if what == "undo":
        back = await retention.undo_retention_run(visit.services, visit.caller, number)
        return visit.go(_address(None), f"Brought back {plural(back, 'tag')}.")
    approve = number if what == "approve" else None
    done, _plan = await retention.run_retention(visit.services, visit.caller, approve=approve)
    if done.state == "waiting":
        return visit.go(_address(None), f"Nothing was removed: run {done.id} waits for a person.")
    return visit.go(_address(None), f"Run {done.id} removed {plural(done.removed, 'tag')}.")


async def _present(visit: PageVisit, project: str | None) -> tuple[PageForm, None]:
    found = await policies.show_policy(visit.services, visit.caller, project=project)
    return PageForm(text=found.text or STARTER), None


async def _change(visit: PageVisit, project: str | None) -> Response[Any]:
    """`do=apply` puts it in force; anything else only shows what it would do."""
    form = await visit.form()
    text = form.body("text", longest=LONGEST)
    preview: PolicyPreview | None = None
    if form.is_good:
        try:
            if form["do"] == "apply":
                await policies.apply_policy(visit.services, visit.caller, text, project=project)
                return visit.go(_address(project), "The policy holds.")
            preview = await policies.plan_policy(visit.services, visit.caller, text, project=project)
        except EntrepotError as error:
            form.blame(error, "text")
    return await _page(visit, project, form, preview, status=200 if form.is_good else 400)


def _address(project: str | None) -> str:
    return addresses.admin("policy") if project is None else addresses.project(project, "policy")


async def _page(
    visit: PageVisit, project: str | None, form: PageForm, preview: PolicyPreview | None, *, status: int = 200
) -> Response[Any]:
    versions = await policies.list_policy_versions(visit.services, visit.caller, project=project)
    return visit.render(
        "policy.html",
        status=status,
        head=await project_head(visit, project, "policy") if project else None,
        tab="policy",
        action=_address(project),
        form=form,
        preview=preview,
        shown=preview.plan.removed[:SHOWN] if preview else [],
        versions=versions[:10],
        runs=await _runs(visit) if project is None else [],
        may_change=project is not None or await visit.may(Action.MANAGE_SYSTEM),
    )


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS else 0


async def _runs(visit: PageVisit) -> list[RunRow]:
    return await retention.list_retention_runs(visit.services, visit.caller, n=RUNS)


ROUTES = [of_project, change_of_project, of_registry, change_of_registry, runs]
