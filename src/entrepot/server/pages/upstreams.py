"""Repositories of other registries, as their notifications tell."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from entrepot.server.access.decision.model import Action
from entrepot.server.control.upstreams import list_repositories
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import PageVisit

__all__ = ["ROUTES"]

ROWS: Final = 100
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
async def show(visit: PageVisit) -> Response[Any]:
    registry, last = visit.query("registry"), visit.number("after")
    rows = await list_repositories(
        visit.services, visit.caller, last=last, n=ROWS + 1, registry=registry or None
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


ROUTES = [show]
