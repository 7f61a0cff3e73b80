"""`/settings`, `/sources`, `/audit`, `/explain`, `/certificates`: the registry as a whole."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response
from litestar.params import Parameter

from entrepot.server.access.decision.model import Action, Resource
from entrepot.server.api.paging import DEFAULT_N, LastNumber, N, Page, paged
from entrepot.server.api.route import delete, get, patch, post
from entrepot.server.api.schemas import (
    AuditRow,
    ExplanationView,
    NewSource,
    ServerInfo,
    SettingsChange,
    SettingsView,
    SourceChange,
    SourceView,
    UpstreamRepository,
    given,
    when,
)
from entrepot.server.api.views import audit_view
from entrepot.server.config.version import VERSION
from entrepot.server.control import audit, settings, signing_keys, sources, upstreams
from entrepot.server.control.explain import explain
from entrepot.server.control.services import Services
from entrepot.server.control.settings import RegistryWideSettings
from entrepot.server.control.sources import SignInSource
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import Asked

__all__ = ["ROUTES"]


@get("/", Asked.NOBODY, "What this is", tags=["registry"])
async def info(services: Services) -> ServerInfo:
    return ServerInfo(
        name="entrepot", version=VERSION, mode="accounts" if services.accounts is not None else "open"
    )


@get("/settings", Action.READ_SYSTEM, "Show settings", tags=["registry"])
async def show_settings(services: Services, caller: Caller) -> SettingsView:
    return _settings_view(await settings.show_settings(services, caller))


@patch("/settings", Action.MANAGE_SYSTEM, "Change settings", tags=["registry"])
async def change_settings(services: Services, caller: Caller, data: SettingsChange) -> SettingsView:
    """They hold from the next request on."""
    changed = await settings.change_settings(services, caller, **given(data))
    return _settings_view(changed)


def _settings_view(found: RegistryWideSettings) -> SettingsView:
    return SettingsView(
        project_creation="signed-in" if found.project_creation == "signed-in" else "admins",
        read_only=found.read_only,
    )


@get("/sources", Action.READ_SYSTEM, "List sign-in sources", tags=["sign-in sources"])
async def all_sources(services: Services, caller: Caller) -> list[SourceView]:
    """Without their secrets."""
    return [_source_view(source) for source in await sources.list_sources(services, caller)]


@post("/sources", Action.MANAGE_SYSTEM, "Add a sign-in source", tags=["sign-in sources"])
async def make_source(services: Services, caller: Caller, data: NewSource) -> SourceView:
    """In person only: it says who is let in, and who is an admin."""
    made = await sources.create_source(
        services, caller, name=data.name, kind=data.kind, settings=data.settings, secret=data.secret
    )
    return _source_view(made)


@patch(
    "/sources/{source:str}",
    Action.MANAGE_SYSTEM,
    "Enable or disable a sign-in source",
    tags=["sign-in sources"],
)
async def change_source(services: Services, caller: Caller, source: str, data: SourceChange) -> SourceView:
    """In person only."""
    return _source_view(await sources.enable_source(services, caller, source, enabled=data.enabled))


@delete("/sources/{source:str}", Action.MANAGE_SYSTEM, "Remove a sign-in source", tags=["sign-in sources"])
async def drop_source(services: Services, caller: Caller, source: str) -> None:
    """Its users stay, but can't sign in through it. In person only."""
    await sources.delete_source(services, caller, source)


def _source_view(source: SignInSource) -> SourceView:
    return SourceView(
        name=source.name, kind=source.kind, enabled=source.enabled, settings=dict(source.settings)
    )


@get("/audit", Action.READ_SYSTEM, "Who changed what", tags=["audit"])
async def show_audit(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    n: N = DEFAULT_N,
    last: LastNumber = 0,
    principal: str | None = Parameter(query="principal", default=None, max_length=255),
    action: str | None = Parameter(query="action", default=None, max_length=64),
    repository: str | None = Parameter(query="repository", default=None, max_length=255),
) -> Response[Page[AuditRow]]:
    """Newest first."""
    rows = await audit.list_audit(
        services,
        caller,
        before=last or None,
        n=n + 1,
        principal=principal,
        action=action,
        repository=repository,
    )
    return paged(request, [audit_view(row) for row in rows], n, lambda view: view.number)


@get("/explain", Asked.SIGNED_IN, "Why may, or may not, somebody do something", tags=["audit"])
async def explain_decision(
    services: Services,
    caller: Caller,
    user: str = Parameter(query="user", max_length=255, description="A name, or `anonymous`."),
    action: str = Parameter(query="action", max_length=64),
    repository: str = Parameter(query="repository", default="", max_length=255),
    tag: str | None = Parameter(query="tag", default=None, max_length=128),
) -> ExplanationView:
    """For oneself. About others: all there is to who may see the registry; to who sees the members of a
    project, what those have there by its grants, without their roles in the registry.
    """
    resource = Resource(repository=repository or None, tag=tag)
    found = await explain(services, caller, user, action, resource)
    return ExplanationView(
        user=user,
        action=found.action.value,
        where=str(resource),
        allowed=found.decision.allowed,
        rule=found.decision.rule,
        reason=found.decision.reason,
        steps=list(found.steps),
    )


@get(
    "/certificates",
    Asked.NOBODY,
    "Certificates that verify bearer tokens",
    tags=["registry"],
    media_type="text/plain",
)
async def certificates(services: Services) -> str:
    """PEM, for a Docker Registry's `rootcertbundle`."""
    return signing_keys.known_certificates(services)


@get("/upstreams/repositories", Asked.SIGNED_IN, "Repositories of other registries", tags=["upstreams"])
async def upstream_repositories(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    n: N = DEFAULT_N,
    last: LastNumber = 0,
    registry: str | None = Parameter(query="registry", default=None, max_length=255),
) -> Response[Page[UpstreamRepository]]:
    """As their notifications tell."""
    rows = await upstreams.list_repositories(services, caller, last=last, n=n + 1, registry=registry)
    numbers = [row.id for row, _tags in rows]
    views = [
        UpstreamRepository(
            registry=row.registry, name=row.name, tags=tags, pulls=row.pulls, pushed_at=when(row.pushed_at)
        )
        for row, tags in rows
    ]
    keys = {id(view): number for view, number in zip(views, numbers, strict=True)}
    return paged(request, views, n, lambda view: keys[id(view)])


ROUTES = [
    info,
    show_settings,
    change_settings,
    all_sources,
    make_source,
    change_source,
    drop_source,
    show_audit,
    explain_decision,
    certificates,
    upstream_repositories,
]
