"""The audit log of the whole registry, on a page and as a file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from litestar import Response
from litestar.response import Stream

from entrepot.server.access.decision.model import Action
from entrepot.server.control import audit
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.headers import PAGE_HEADERS
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]

ROWS: Final = 100
EXPORT_PAGE: Final = 1000
EXPORT_MOST: Final = 1_000_000


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


def _filter(visit: PageVisit) -> _Filter:
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
async def show_audit(visit: PageVisit) -> Response[Any]:
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
async def audit_csv(visit: PageVisit) -> Stream:
    """For a spreadsheet."""
    return _export(visit, "text/csv; charset=utf-8", "audit.csv", _csv_lines, ",".join(_COLUMNS) + "\r\n")


@page("/admin/audit.jsonl", Action.READ_SYSTEM)
async def audit_jsonl(visit: PageVisit) -> Stream:
    """For programs: one JSON object a line."""
    return _export(visit, "application/jsonl", "audit.jsonl", _json_lines, "")


def _export(visit: PageVisit, media_type: str, name: str, write: Any, first: str) -> Stream:
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


ROUTES = [show_audit, audit_csv, audit_jsonl]
