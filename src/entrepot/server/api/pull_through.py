"""`/pull-through`: proxy projects and their upstreams."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

from entrepot.server.access.decision.model import Action
from entrepot.server.api.route import delete, get, patch, post
from entrepot.server.api.schemas import (
    BudgetView,
    NewUpstream,
    SnippetView,
    UpstreamChange,
    UpstreamView,
    VisibilityName,
    at,
    given,
)
from entrepot.server.control import pull_through
from entrepot.server.control.pull_through import ListedUpstream
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]


@get("/pull-through", Action.READ_SYSTEM, "List upstreams", tags=["pull-through"])
async def list_upstreams(services: Services, caller: Caller) -> list[UpstreamView]:
    """Without their passwords."""
    return [_view(found) for found in await pull_through.list_upstreams(services, caller)]


@post("/pull-through", Action.MANAGE_SYSTEM, "Make a proxy project", tags=["pull-through"])
async def make_upstream(services: Services, caller: Caller, data: NewUpstream) -> UpstreamView:
    """Private when it has an account at the upstream, else public, if nothing is said."""
    made = await pull_through.add_upstream(
        services,
        caller,
        name=data.project,
        url=data.url,
        visibility=data.visibility,
        username=data.username,
        password=data.password,
        inside=data.inside,
        whole=data.whole,
        allow=data.allow,
        deny=data.deny,
    )
    return _view(made)


@get("/pull-through/{project:str}", Action.READ_SYSTEM, "Show an upstream", tags=["pull-through"])
async def show_upstream(services: Services, caller: Caller, project: str) -> UpstreamView:
    return _view(await pull_through.show_upstream(services, caller, project))


@patch("/pull-through/{project:str}", Action.MANAGE_SYSTEM, "Change an upstream", tags=["pull-through"])
async def change_upstream(
    services: Services, caller: Caller, project: str, data: UpstreamChange
) -> UpstreamView:
    """`username` and `password` come together; null for both: no account."""
    return _view(await pull_through.change_upstream(services, caller, project, given(data)))


@delete("/pull-through/{project:str}", Action.MANAGE_SYSTEM, "Stop fetching", tags=["pull-through"])
async def remove_upstream(services: Services, caller: Caller, project: str) -> None:
    """What has been fetched stays, in a project like any other from now on."""
    await pull_through.remove_upstream(services, caller, project)


@get("/pull-through/{project:str}/snippets", Action.READ, "Settings of clients", tags=["pull-through"])
async def show_snippets(services: Services, caller: Caller, project: str) -> list[SnippetView]:
    """What clients write into their settings to pull through it."""
    found = await pull_through.show_snippets(services, caller, project, base_url=caller.base_url)
    return [SnippetView(client=one.client, where=one.where, text=one.text) for one in found]


def _view(found: ListedUpstream) -> UpstreamView:
    one, state = found.upstream, found.state
    budget = None
    if state.remaining is not None:
        budget = BudgetView(limit=state.limit, remaining=state.remaining, window_s=state.window_s)
    return UpstreamView(
        project=one.project,
        url=one.address.url,
        registry=one.registry,
        username=one.username,
        visibility=cast("VisibilityName", found.visibility),
        inside=one.inside,
        whole=one.whole,
        allow=[pattern.text for pattern in one.allow],
        deny=[pattern.text for pattern in one.deny],
        usage_bytes=found.usage_bytes,
        created_at=at(found.created_at),
        asked_at=None if state.asked_at is None else datetime.fromtimestamp(int(state.asked_at), UTC),
        failure=state.failure,
        budget=budget,
    )


ROUTES = [list_upstreams, make_upstream, show_upstream, change_upstream, remove_upstream, show_snippets]
