"""Moving in from Harbor, Quay or Docker Hub: content as from any registry, and what else their APIs tell."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from entrepot.client.settings import ClientSettings
from entrepot.errors import EntrepotError
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists
from entrepot.server.access.decision.model import Action
from entrepot.server.control.moving import Carried, Compared, Left, RegistryAddress, bring, check
from entrepot.server.control.projects import create_project
from entrepot.server.control.repositories import change_profile, show_profile
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import require
from entrepot.server.movement.importers.portals import Portal, Survey, portal_asker, survey

__all__ = ["PORTALS", "PortalAddress", "bring_portal", "check_portal"]

PORTALS: Final = {"harbor": "Harbor", "quay": "Quay", "hub": "Docker Hub"}
_HUB_API: Final = "https://hub.docker.com"
_HUB_CONTENT: Final = "docker.io"


@dataclass(frozen=True, slots=True)
class PortalAddress:
    """Asked as who runs the command is signed in at its registry."""

    kind: Portal
    url: str = ""
    """Of its pages; Docker Hub's need not be said."""
    namespaces: tuple[str, ...] = ()
    """Projects or organizations; Harbor lists its own."""
    token: str = ""
    """For its API, where the registry's account does not do (Quay)."""
    content: str = ""
    """Where its registry is, when it is not at `url`."""


async def bring_portal(
    services: Services, actor: Actor, place: PortalAddress, *, plan: bool = False, say: Callable[[str], None]
) -> Carried:
    """Projects with their visibility where they are new here, all content, descriptions where there are none.

    Raises PortalFailed, InvalidInput and what `bring` does; it goes on when it is called again.
    """
    await require(services, actor, Action.MANAGE_SYSTEM)
    found = await asyncio.to_thread(_survey, place)
    if not found.descriptions:
        return Carried(by_hand=sorted(found.by_hand))
    refused = [] if plan else await _make_projects(services, actor, found)
    done = await bring(services, actor, _content(place, found), plan=plan, say=say)
    done.left += refused
    done.by_hand = sorted(found.by_hand)
    if not plan:
        await _describe(services, actor, found)
    return done


async def check_portal(
    services: Services, actor: Actor, place: PortalAddress, *, say: Callable[[str], None]
) -> Compared:
    """As `check`, of all repositories that there are. Raises PortalFailed and what `check` does."""
    await require(services, actor, Action.MANAGE_SYSTEM)
    found = await asyncio.to_thread(_survey, place)
    if not found.descriptions:
        return Compared()
    return await check(services, actor, _content(place, found), say=say)


def _survey(place: PortalAddress) -> Survey:
    url = place.url or (_HUB_API if place.kind == "hub" else "")
    host = _HUB_CONTENT if place.kind == "hub" else urlsplit(url).netloc
    credential = ClientSettings.load(os.environ).credentials.lookup(host)
    return survey(place.kind, portal_asker(place.kind, url, credential, place.token), place.namespaces)


def _content(place: PortalAddress, found: Survey) -> RegistryAddress:
    where = place.content or (_HUB_CONTENT if place.kind == "hub" else place.url)
    return RegistryAddress(where, tuple(sorted(found.descriptions)))


async def _make_projects(services: Services, actor: Actor, found: Survey) -> list[Left]:
    """What is here already stays as it is."""
    refused = list[Left]()
    for project in found.projects:
        visibility = "public" if project.is_public else "private"
        try:
            await create_project(services, actor, name=project.name, visibility=visibility)
        except AlreadyExists:
            continue
        except EntrepotError as error:
            refused.append(Left(project.name, error.message))
    return refused


async def _describe(services: Services, actor: Actor, found: Survey) -> None:
    for name, text in found.descriptions.items():
        if not text:
            continue
        try:
            if not (await show_profile(services, actor, name)).description:
                await change_profile(services, actor, name, description=text)
        except EntrepotError:
            continue  # it has not come, which is told already
