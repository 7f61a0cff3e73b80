"""The way in: repositories, what happened lately, search, the list of projects."""

from __future__ import annotations

from typing import Any, cast

from litestar import Response

from entrepot.server.access.decision.model import Action
from entrepot.server.control.first_start import nobody_signed_in
from entrepot.server.control.projects import list_projects
from entrepot.server.control.repositories import RepositoryOrder, list_moves, page_of_repositories
from entrepot.server.control.search import SearchHit, search
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.moves import fold_moves
from entrepot.server.pages.kit.paging import MAX_PAGE, pager
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import PageVisit
from entrepot.server.pages.kit.words import plural, short_digest

__all__ = ["ROUTES", "result_address"]

PAGE = 25
PROJECTS = 50
RESULTS = 50
SUGGESTIONS = 8
LABELS = 3
RECENT, LATELY = 100, 12


@page("/", Action.SEARCH)
async def home(visit: PageVisit) -> Response[Any]:
    """Repositories, last pushed first, beside what happened lately."""
    order = cast("RepositoryOrder", visit.choice("sort", ("pushed", "name")))
    starred = visit.is_signed_in and visit.query("starred") == "yes"
    label = visit.query("label", longest=64)
    number = min(max(1, visit.number("page", default=1)), MAX_PAGE)
    found = await page_of_repositories(
        visit.services,
        visit.caller,
        order=order,
        offset=(number - 1) * PAGE,
        n=PAGE,
        label=label,
        starred=starred,
    )
    moves = await list_moves(visit.services, visit.caller, n=RECENT)

    def address(other: int) -> str:
        return addresses.home(
            sort=order if order != "pushed" else None,
            starred="yes" if starred else None,
            label=label,
            page=other if other > 1 else None,
        )

    return visit.render(
        "home.html",
        rows=found.rows,
        pager=pager(number, PAGE, found.total, address),
        moves=fold_moves(moves)[:LATELY],
        order=order,
        starred=starred,
        label=label,
        is_empty=found.is_empty,
        is_new=found.is_empty
        and not visit.is_open
        and not visit.is_signed_in
        and await nobody_signed_in(visit.services),
        may_create=await visit.may(Action.CREATE_PROJECT),
    )


@page("/search", Action.SEARCH)
async def results(visit: PageVisit) -> Response[Any]:
    """The same as what appears while typing, for those who press return or have no JavaScript."""
    term = visit.query("q")
    found = await _find(visit, term, RESULTS)
    return visit.render(
        "search.html", term=term, found=found, address=result_address, full=len(found) >= RESULTS
    )


@page("/search.json", Action.SEARCH)
async def suggestions(visit: PageVisit) -> Response[Any]:
    """For the search field, as one types."""
    found = await _find(visit, visit.query("q"), SUGGESTIONS)
    return Response(
        [{"kind": f.kind, "name": result_name(f), "url": result_address(f)} for f in found],
        media_type="application/json",
        headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
    )


async def _find(visit: PageVisit, term: str, n: int) -> list[SearchHit]:
    """Labels come before the rest: they are few, and what carries one is behind it."""
    results = await search(visit.services, visit.caller, term, n=n, labels=LABELS)
    labels = [
        SearchHit("label", label, f"on {plural(count, 'repository', 'repositories')}")
        for label, count in results.labels
    ]
    return [*labels, *results.found]


def result_name(found: SearchHit) -> str:
    """As one would write it down."""
    return (
        f"{found.name}@{short_digest(found.digest)}"
        if found.kind == "digest" and found.digest
        else found.name
    )


def result_address(found: SearchHit) -> str:
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
async def projects(visit: PageVisit) -> Response[Any]:
    """Those of which the visitor sees something."""
    last = visit.query("after")
    rows = await list_projects(visit.services, visit.caller, last=last, n=PROJECTS + 1)
    more = rows[PROJECTS - 1].name if len(rows) > PROJECTS else None
    return visit.render(
        "projects.html",
        rows=rows[:PROJECTS],
        next=addresses.with_query("/projects", after=more) if more else None,
        is_first=not last,
        may_create=await visit.may(Action.CREATE_PROJECT),
    )


ROUTES = [home, results, suggestions, projects]
