"""Upstreams: the registries that proxy projects fetch from. Admins make and change them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look
from entrepot.server.movement.upstreams import table as rows
from entrepot.server.movement.upstreams.snippets import Snippet, snippets_for
from entrepot.server.movement.upstreams.table import ListedUpstream

__all__ = [
    "ListedUpstream",
    "Snippet",
    "add_upstream",
    "change_upstream",
    "list_upstreams",
    "remove_upstream",
    "show_snippets",
    "show_upstream",
]


async def list_upstreams(services: Services, actor: Actor) -> list[ListedUpstream]:
    """By name; their passwords stay sealed."""

    def see(t: Transaction) -> list[ListedUpstream]:
        t.require(Action.READ_SYSTEM)
        return rows.list_upstreams(t.connection)

    return await look(services, actor, see)


async def show_upstream(services: Services, actor: Actor, name: str) -> ListedUpstream:
    """Raises Unknown."""

    def see(t: Transaction) -> ListedUpstream:
        t.require(Action.READ_SYSTEM)
        return rows.get_upstream(t.connection, name)

    return await look(services, actor, see)


async def show_snippets(services: Services, actor: Actor, name: str, *, base_url: str) -> tuple[Snippet, ...]:
    """What clients write into their settings, for whoever may see the project. Raises Unknown."""

    def see(t: Transaction) -> tuple[Snippet, ...]:
        t.require(Action.READ, project=name)
        return snippets_for(rows.get_upstream(t.connection, name).upstream, base_url)

    return await look(services, actor, see)


async def add_upstream(
    services: Services,
    actor: Actor,
    *,
    name: str,
    url: str,
    visibility: str | None = None,
    username: str | None = None,
    password: str | None = None,
    inside: bool = False,
    whole: bool = False,
    allow: Sequence[str] = (),
    deny: Sequence[str] = (),
) -> ListedUpstream:
    """With its proxy project `name`: private when it has an account there, else public, if nothing is said.

    `inside`: it may have an address of a private network. `whole`: it is asked for names of no project here.
    Raises InvalidName, InvalidInput, AlreadyExists.
    """

    def do(t: Transaction) -> ListedUpstream:
        t.require(Action.MANAGE_SYSTEM)
        return rows.add_upstream(
            t.connection,
            t.actor,
            services.seal if password is not None else None,
            now=t.now,
            name=name,
            url=url,
            visibility=visibility,
            username=username,
            password=password,
            inside=inside,
            whole=whole,
            allow=allow,
            deny=deny,
        )

    made = await change(services, actor, do)
    services.pull_through.directory.forget()
    return made


async def change_upstream(
    services: Services, actor: Actor, name: str, changes: Mapping[str, Any]
) -> ListedUpstream:
    """`username` with `password` (both None: no account), `allow`, `deny`, `whole`, `inside`.

    Raises Unknown, InvalidInput, AlreadyExists.
    """

    def do(t: Transaction) -> ListedUpstream:
        t.require(Action.MANAGE_SYSTEM)
        seal = services.seal if changes.get("password") is not None else None
        return rows.change_upstream(t.connection, t.actor, seal, now=t.now, name=name, changes=changes)

    changed = await change(services, actor, do)
    services.pull_through.directory.forget()
    return changed


async def remove_upstream(services: Services, actor: Actor, name: str) -> None:
    """What has been fetched stays, in a project like any other from now on. Raises Unknown."""

    def do(t: Transaction) -> None:
        t.require(Action.MANAGE_SYSTEM)
        rows.remove_upstream(t.connection, t.actor, name, now=t.now)

    await change(services, actor, do)
    services.pull_through.directory.forget()
