"""Background work: when each kind ran last and runs next, and the runs."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from entrepot.server.access.decision.model import Action
from entrepot.server.control.jobs import list_job_rounds, list_jobs
from entrepot.server.control.jobs import run_job as run
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import PageVisit
from entrepot.server.pages.kit.words import figures

__all__ = ["ROUTES"]

ROWS: Final = 100


@page("/admin/jobs", Action.READ_SYSTEM)
async def jobs(visit: PageVisit) -> Response[Any]:
    kind = visit.query("kind", longest=64)
    rounds = await list_job_rounds(visit.services, visit.caller)
    rows = await list_jobs(visit.services, visit.caller, kind=kind, n=ROWS)
    return visit.render(
        "admin_jobs.html",
        tab="jobs",
        rounds=[(one, figures(one.last.result) if one.last else "") for one in rounds],
        rows=[(row, figures(row.result or row.progress)) for row in rows],
        kind=kind,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/jobs", Action.MANAGE_SYSTEM)
async def run_job(visit: PageVisit) -> Response[Any]:
    """Soon, by whichever process takes jobs."""
    kind = (await visit.form())["kind"]
    is_new = await run(visit.services, visit.caller, kind)
    return visit.go("/admin/jobs", f"{kind} will run." if is_new else f"{kind} is waiting already.")


ROUTES = [jobs, run_job]
