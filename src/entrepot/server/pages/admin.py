"""The registry as a whole: health, storage, jobs, the audit log, what decides, what can be brought back."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from litestar import Response
from litestar.response import Stream
from sqlalchemy import Connection

from entrepot.errors import EntrepotError, InvalidInput
from entrepot.server.access.decision.errors import AccessDenied, Unknown
from entrepot.server.access.decision.model import Action
from entrepot.server.access.directory.settings import (
    get_registry_settings,
    set_project_creation,
    set_read_only,
)
from entrepot.server.control import audit
from entrepot.server.control.content_queries import list_upstream
from entrepot.server.control.explain import explain, parse_action, parse_target
from entrepot.server.control.job_rounds import JobRound, job_rounds, list_jobs
from entrepot.server.control.storage_figures import storage_figures
from entrepot.server.control.tombstones import list_undoable, restore_project
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.forms import Form
from entrepot.server.pages.kit.headers import PAGE_HEADERS
from entrepot.server.pages.kit.route import page, submit
from entrepot.server.pages.kit.visit import Visit
from entrepot.server.pages.kit.words import figures
from entrepot.server.upkeep.figures import ClusterState, read_state
from entrepot.server.upkeep.runner.job_table import enqueue

__all__ = ["ROUTES"]

ROWS: Final = 100
EXPORT_PAGE: Final = 1000
EXPORT_MOST: Final = 1_000_000
CHECK_S: Final = 5.0
JOBS: Final = {
    "gc": "Removes what nothing refers to and whose undo window is over.",
    "sweep": "Unlinks the files of what was removed.",
    "scrub": "Reads blobs back and compares them with their digests.",
    "reconcile": "Compares the store with the catalog.",
    "integrity": "Checks the database itself.",
}
"""Jobs somebody may want at once, in words."""


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that `/readyz` asks."""

    name: str
    problem: str


@page("/admin", Action.READ_SYSTEM)
async def health(visit: Visit) -> Response[Any]:
    """Is everything well."""
    parts = await asyncio.gather(
        *(_look(name, check) for name, check in sorted(visit.services.checks.items()))
    )
    damage = visit.services.catalog.read_only
    if damage is not None:
        parts.append(Part("damage", f"nothing can be changed until the catalog is restored: {damage}"))
    steady = visit.services.catalog.clock.steady()
    state: ClusterState = await visit.read(read_state, steady)
    return visit.render(
        "admin_health.html",
        tab="health",
        parts=parts,
        is_read_only=not visit.is_open and (await visit.read(get_registry_settings)).read_only,
        state=state,
        mode="open" if visit.is_open else "accounts",
        dialect=visit.services.catalog.dialect,
        config=visit.services.config,
    )


async def _look(name: str, check: Any) -> Part:
    try:
        async with asyncio.timeout(CHECK_S):
            await check()
    except EntrepotError as error:
        return Part(name, error.message)
    except TimeoutError:
        return Part(name, f"no answer within {CHECK_S:.0f} seconds")
    except OSError as error:
        return Part(name, error.strerror or type(error).__name__)
    return Part(name, "")


@page("/admin/storage", Action.READ_SYSTEM)
async def storage(visit: Visit) -> Response[Any]:
    """Where the bytes are, and what of it can still be brought back."""
    figures = await visit.read(storage_figures)
    gone = await visit.read(lambda c: list_undoable(c, n=50))
    return visit.render(
        "admin_storage.html",
        tab="storage",
        figures=figures,
        gone=[item for item in gone if item.kind in {"project", "repository"}],
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
        window_days=round(visit.services.config.gc.undo_window / 86400, 1),
    )


@submit("/admin/restore-project", Action.MANAGE_SYSTEM)
async def bring_back(visit: Visit) -> Response[Any]:
    """A deleted project, with the repositories that went with it."""
    name = (await visit.form()).text("project", required="Which one?", longest=128)
    await visit.write(restore_project, name, visit.caller, visit.now)
    return visit.go(addresses.project(name), f"Project {name} is back.")


@page("/admin/jobs", Action.READ_SYSTEM)
async def jobs(visit: Visit) -> Response[Any]:
    """Background work: when each kind ran last and runs next, and the runs."""
    kind = visit.query("kind", longest=64)

    def read(connection: Connection) -> tuple[list[JobRound], list[Any]]:
        return job_rounds(connection, JOBS), list_jobs(connection, kind=kind, n=ROWS)

    rounds, rows = await visit.read(read)
    return visit.render(
        "admin_jobs.html",
        tab="jobs",
        rounds=[(JOBS[one.kind], one, figures(one.last.result) if one.last else "") for one in rounds],
        rows=[(row, figures(row.result or row.progress)) for row in rows],
        kind=kind,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/jobs", Action.MANAGE_SYSTEM)
async def run_job(visit: Visit) -> Response[Any]:
    """Soon, by whichever process takes jobs."""
    kind = (await visit.form())["kind"]
    if kind not in JOBS:
        raise InvalidInput(f"no job is called {kind[:40]}")
    steady = visit.services.catalog.clock.steady()

    def write(connection: Connection) -> int | None:
        return enqueue(
            connection,
            kind,
            key="by-hand",
            payload={},
            run_at=steady,
            now=steady,
            by=visit.caller.name,
        )

    made = await visit.write(write)
    return visit.go("/admin/jobs", f"{kind} will run." if made else f"{kind} is waiting already.")


# --- audit


@dataclass(frozen=True, slots=True)
class _Filter:
    principal: str
    action: str
    repository: str
    since: int | None
    until: int | None

    def fields(self) -> dict[str, Any]:
        return {
            "principal": self.principal or None,
            "action": self.action or None,
            # A project stands for all that is in it.
            "repository" if "/" in self.repository else "project": self.repository or None,
            "since": self.since,
            "until": self.until,
        }


def _filter(visit: Visit) -> _Filter:
    return _Filter(
        principal=visit.query("who"),
        action=visit.query("action", longest=64),
        repository=visit.query("repository"),
        since=_moment(visit.query("since", longest=10)),
        until=_moment(visit.query("until", longest=10), days=1),
    )


def _moment(text: str, *, days: int = 0) -> int | None:
    """The beginning of a day (UTC), or of the one after it; what is no date filters nothing."""
    try:
        found = datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        return None
    return (int(found.timestamp()) + days * 86_400) * 1_000_000


@page("/admin/audit", Action.READ_SYSTEM)
async def show_audit(visit: Visit) -> Response[Any]:
    """Who changed what, newest first."""
    wanted, before = _filter(visit), visit.number("before")
    rows = await audit.list_audit(
        visit.services, visit.caller, before=before or None, n=ROWS + 1, **wanted.fields()
    )
    typed = {name: visit.query(name) for name in ("who", "action", "repository", "since", "until")}
    more = rows[ROWS - 1].seq if len(rows) > ROWS else None
    return visit.render(
        "admin_audit.html",
        tab="audit",
        rows=rows[:ROWS],
        typed=typed,
        next=addresses.admin("audit", before=more, **typed) if more else None,
        export={kind: addresses.admin(f"audit.{kind}", **typed) for kind in ("csv", "jsonl")},
    )


_COLUMNS: Final = (
    "seq",
    "at",
    "principal",
    "principal_kind",
    "token_id",
    "address",
    "request_id",
    "action",
    "repository",
    "tag",
    "old",
    "new",
    "detail",
)


@page("/admin/audit.csv", Action.READ_SYSTEM)
async def audit_csv(visit: Visit) -> Stream:
    """For a spreadsheet."""
    return _export(visit, "text/csv; charset=utf-8", "audit.csv", _csv_lines, ",".join(_COLUMNS) + "\r\n")


@page("/admin/audit.jsonl", Action.READ_SYSTEM)
async def audit_jsonl(visit: Visit) -> Stream:
    """For programs: one JSON object a line."""
    return _export(visit, "application/jsonl", "audit.jsonl", _json_lines, "")


def _export(visit: Visit, media_type: str, name: str, write: Any, first: str) -> Stream:
    wanted = _filter(visit)

    async def rows() -> AsyncGenerator[bytes, None]:
        yield first.encode()
        before, sent = None, 0
        while sent < EXPORT_MOST:
            page_of = await audit.list_audit(
                visit.services, visit.caller, before=before, n=EXPORT_PAGE, **wanted.fields()
            )
            if not page_of:
                return
            yield write(page_of).encode()
            before, sent = page_of[-1].seq, sent + len(page_of)

    return Stream(
        rows(),
        media_type=media_type,
        headers={**PAGE_HEADERS, "Content-Disposition": f'attachment; filename="{name}"'},
    )


def _values(row: Any) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in _COLUMNS}
    values["at"] = datetime.fromtimestamp(row.at / 1_000_000, UTC).isoformat()
    return values


def _json_lines(rows: list[Any]) -> str:
    return "".join(json.dumps(_values(row)) + "\n" for row in rows)


def _csv_lines(rows: list[Any]) -> str:
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow([_cell(value) for value in _values(row).values()])
    return out.getvalue()


def _cell(value: Any) -> Any:
    """A spreadsheet takes text that begins like this for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


# --- explain, settings


@page("/admin/explain", Action.READ_SYSTEM)
async def explain_page(visit: Visit) -> Response[Any]:
    """Why may, or may not, somebody do something."""
    form = Form(user=visit.query("user"), action=visit.query("action") or "pull", on=visit.query("on"))
    found = None
    if form["user"]:
        if visit.is_open:
            raise AccessDenied("this registry is open: everybody may do everything")
        try:
            action, target = parse_action(form["action"]), parse_target(form["on"])
            found = await visit.read(
                lambda c: explain(c, form["user"].lower(), action, target, now=visit.now)
            )
        except Unknown as error:
            form.blame(error, "user")
        except EntrepotError as error:
            form.blame(error, "action")
    return visit.render(
        "admin_explain.html",
        status=400 if form.errors else 200,
        tab="explain",
        form=form,
        found=found,
        actions=[action.value for action in Action],
    )


@page("/admin/settings", Action.READ_SYSTEM)
async def settings(visit: Visit) -> Response[Any]:
    """What admins decide while the registry runs."""
    found = await visit.read(get_registry_settings)
    form = Form(project_creation=found.project_creation, read_only="yes" if found.read_only else "")
    return visit.render(
        "admin_settings.html",
        tab="settings",
        form=form,
        may_manage=await visit.may(Action.MANAGE_SYSTEM),
    )


@submit("/admin/settings", Action.MANAGE_SYSTEM)
async def change_settings(visit: Visit) -> Response[Any]:
    """They hold from the next request on."""
    form = await visit.form()
    creation, read_only = form.choice("project_creation", ("admins", "signed-in")), form.flag("read_only")
    if not form.is_good:
        return visit.render("admin_settings.html", status=400, tab="settings", form=form, may_manage=True)

    def write(connection: Connection) -> None:
        present = get_registry_settings(connection)
        if creation != present.project_creation:
            set_project_creation(connection, visit.caller, creation, now=visit.now)
        if read_only != present.read_only:
            set_read_only(connection, visit.caller, read_only, now=visit.now)

    await visit.write(write)
    return visit.go("/admin/settings", "Saved.")


# --- other registries


_UPSTREAM: Final = """auth:
  token:
    realm: BASE/token
    service: SERVICE
    issuer: ISSUER
    rootcertbundle: /etc/docker/registry/bundle.pem
notifications:
  endpoints:
    - name: entrepot
      url: BASE/api/v1/upstreams/SERVICE/events
      headers: { Authorization: ["Bearer SECRET-OF-THE-ROBOT"] }"""


@page("/upstreams", Action.SEARCH)
async def upstreams(visit: Visit) -> Response[Any]:
    """Repositories of other registries, as their notifications tell."""
    visible = await visit.visible()
    registry, last = visit.query("registry"), visit.number("after")
    rows = await visit.read(
        lambda c: list_upstream(c, visible, last=last, n=ROWS + 1, registry=registry or None)
    )
    more = rows[ROWS - 1][0].id if len(rows) > ROWS else None
    return visit.render(
        "upstreams.html",
        rows=rows[:ROWS],
        registry=registry,
        example=_UPSTREAM.replace("BASE", visit.caller.base_url).replace(
            "ISSUER", visit.services.config.access.issuer
        ),
        next=addresses.with_query("/upstreams", registry=registry, after=more) if more else None,
    )


ROUTES = [
    health,
    storage,
    bring_back,
    jobs,
    run_job,
    show_audit,
    audit_csv,
    audit_jsonl,
    explain_page,
    settings,
    change_settings,
    upstreams,
]
