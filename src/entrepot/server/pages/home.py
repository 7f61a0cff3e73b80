"""The way in: repositories, what happened lately, search, the list of projects."""

from __future__ import annotations

from typing import Any, cast

from litestar import Response
from sqlalchemy import Connection

from entrepot.server.access.decision.model import Action, Resource
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.access.directory.projects import Project, list_projects
from entrepot.server.control.content_queries import Found, RepositoryRow, search
from entrepot.server.control.page_queries import (
    Move,
    RepositoryOrder,
    count_repositories,
    find_labels,
    fold_moves,
    list_moves,
    nobody_signed_in,
    page_of_repositories,
)
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.paging import MAX_PAGE, pager
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import Visit
from entrepot.server.pages.kit.words import plural, short_digest

__all__ = ["ROUTES", "result_address"]

PAGE = 25
PROJECTS = 50
RESULTS = 50
SUGGESTIONS = 8
LABELS = 3
RECENT, LATELY = 100, 12


@page("/", Action.SEARCH)
async def home(visit: Visit) -> Response[Any]:
    """Repositories, last pushed first, beside what happened lately."""
    visible = await visit.visible()
    order = cast("RepositoryOrder", visit.choice("sort", ("pushed", "name")))
    starred = visit.is_signed_in and visit.query("starred") == "yes"
    label = visit.query("label", longest=64)
    number = min(max(1, visit.number("page", default=1)), MAX_PAGE)

    def read(connection: Connection) -> tuple[list[RepositoryRow], int, list[tuple[int, Move]], bool]:
        chosen: dict[str, Any] = {
            "label": label,
            "starred_by": visit.caller.principal.id if starred else None,
        }
        rows = page_of_repositories(
            connection, visible, order=order, offset=(number - 1) * PAGE, n=PAGE, **chosen
        )
        total = count_repositories(connection, visible, **chosen)
        is_empty = not total and (not (label or starred) or not count_repositories(connection, visible))
        return rows, total, list_moves(connection, visible, n=RECENT), is_empty

    rows, total, moves, is_empty = await visit.read(read)

    def address(other: int) -> str:
        return addresses.home(
            sort=order if order != "pushed" else None,
            starred="yes" if starred else None,
            label=label,
            page=other if other > 1 else None,
        )

    return visit.render(
        "home.html",
        rows=rows,
        pager=pager(number, PAGE, total, address),
        moves=fold_moves(moves)[:LATELY],
        order=order,
        starred=starred,
        label=label,
        is_empty=is_empty,
        is_new=is_empty
        and not visit.is_open
        and not visit.is_signed_in
        and await visit.read(nobody_signed_in),
        may_create=await visit.may(Action.CREATE_PROJECT),
    )


@page("/search", Action.SEARCH)
async def results(visit: Visit) -> Response[Any]:
    """The same as what appears while typing, for those who press return or have no JavaScript."""
    term = visit.query("q")
    found = await _find(visit, term, RESULTS)
    return visit.render(
        "search.html", term=term, found=found, address=result_address, full=len(found) >= RESULTS
    )


@page("/search.json", Action.SEARCH)
async def suggestions(visit: Visit) -> Response[Any]:
    """For the search field, as one types."""
    found = await _find(visit, visit.query("q"), SUGGESTIONS)
    return Response(
        [{"kind": f.kind, "name": result_name(f), "url": result_address(f)} for f in found],
        media_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


async def _find(visit: Visit, term: str, n: int) -> list[Found]:
    """Labels come before the rest: they are few, and what carries one is behind it."""
    visible: Visible = await visit.visible()

    def read(connection: Connection) -> list[Found]:
        labels = [
            Found("label", label, f"on {plural(count, 'repository', 'repositories')}")
            for label, count in find_labels(connection, visible, term, n=LABELS)
        ]
        return [*labels, *search(connection, visible, term, n=n - len(labels))]

    return await visit.read(read)


def result_name(found: Found) -> str:
    """As one would write it down."""
    return (
        f"{found.name}@{short_digest(found.digest)}"
        if found.kind == "digest" and found.digest
        else found.name
    )


def result_address(found: Found) -> str:
    """Where a result leads."""
    if found.kind == "tag":
        repository, _, tag = found.name.rpartition(":")
        return addresses.repository(repository, "tags", tag)
    if found.kind == "digest" and found.digest:
        return addresses.repository(found.name, "manifests", found.digest)
    if found.kind == "label":
        return addresses.home(label=found.name)
    if found.kind == "upstream":
        return addresses.with_query("/upstreams", registry=found.registry)
    return addresses.repository(found.name)


@page("/projects", Action.SEARCH)
async def projects(visit: Visit) -> Response[Any]:
    """Those of which the visitor sees something."""
    visible = await visit.visible()
    last = visit.query("after")
    rows: list[Project] = await visit.read(lambda c: list_projects(c, visible, last=last, n=PROJECTS + 1))
    more = rows[PROJECTS - 1].name if len(rows) > PROJECTS else None
    return visit.render(
        "projects.html",
        rows=rows[:PROJECTS],
        next=addresses.with_query("/projects", after=more) if more else None,
        is_first=not last,
        may_create=await visit.services.may(visit.caller, Action.CREATE_PROJECT, Resource()),
    )


ROUTES = [home, results, suggestions, projects]
