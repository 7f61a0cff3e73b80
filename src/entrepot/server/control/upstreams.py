"""Repositories of other registries: what those tell of themselves, and who sees it."""

from __future__ import annotations

from typing import Any

from entrepot.errors import InvalidInput
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.foreign import apart, read_object
from entrepot.server.control.queries import upstreams as rows
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = ["list_repositories", "take_events"]

MAX_NAME = 255


async def list_repositories(
    services: Services, actor: Actor, *, last: int = 0, n: int = 100, registry: str | None = None
) -> list[tuple[Any, list[str]]]:
    """Those the actor may see, each with its tags, by number after `last`."""

    def see(t: Transaction) -> list[tuple[Any, list[str]]]:
        t.require(Action.SEARCH)
        return rows.list_upstream(t.connection, t.visible, last=last, n=n, registry=registry)

    return await look(services, actor, see)


async def take_events(services: Services, actor: Actor, registry: str, envelope: bytes) -> int:
    """A distribution notification envelope; returns how many events were new. Raises InvalidInput.

    They come at least once and in any order across requests; each counts once, by its id.
    """
    if len(registry) > MAX_NAME:
        raise InvalidInput(f"the registry's name is longer than {MAX_NAME} characters")
    found = (await apart(read_object, envelope)).get("events")
    if not isinstance(found, list):
        raise InvalidInput("the notification is no JSON, or has no events")
    told = [event for event in found if isinstance(event, dict)]

    def do(t: Transaction) -> int:
        t.require(Action.MANAGE_UPSTREAMS)
        return rows.apply_events(t.connection, registry, told, t.now)

    return await change(services, actor, do)
