"""Sign-in sources: where people sign in besides built-in accounts.

They say who is let in, and who is an admin: they are changed in person only. In a registry without accounts
they can be prepared by whoever reaches it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.access.sign_in import source_table as rows
from entrepot.server.access.sign_in.source_table import SignInSource, SourceKind
from entrepot.server.access.sign_in.sources.htpasswd import require_readable
from entrepot.server.access.sign_in.sources.ldap import LdapSettings
from entrepot.server.access.sign_in.sources.oidc import OidcSettings
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, change, look

__all__ = [
    "SETTINGS",
    "SignInSource",
    "SourceKind",
    "create_source",
    "delete_source",
    "enable_source",
    "list_sources",
]

SETTINGS: Final[Mapping[SourceKind, tuple[str, ...]]] = {
    "oidc": tuple(item.name for item in fields(OidcSettings)),
    "ldap": tuple(item.name for item in fields(LdapSettings)),
    "htpasswd": ("path",),
}
"""The settings that each kind has."""


async def list_sources(services: Services, actor: Actor) -> list[SignInSource]:
    """By name; their secrets stay sealed."""

    def see(t: Transaction) -> list[SignInSource]:
        t.require(Action.READ_SYSTEM)
        return rows.list_sources(t.connection)

    return await look(services, actor, see)


async def create_source(
    services: Services,
    actor: Actor,
    *,
    name: str,
    kind: SourceKind,
    settings: Mapping[str, Any],
    secret: str | None = None,
) -> SignInSource:
    """People can sign in with it at once. `secret`: of the client, or of the account that looks people up.

    Raises InvalidName, InvalidInput (a setting is unknown or missing, an htpasswd file is not there),
    AlreadyExists.
    """

    def do(t: Transaction) -> SignInSource:
        _require(t)
        rows.add_source(
            t.connection,
            t.actor,
            services.seal,
            now=t.now,
            name=name,
            kind=kind,
            settings=settings,
            secret=secret,
        )
        if kind == "htpasswd":
            require_readable(Path(str(settings["path"])))
        return _source(t, name.strip().lower())

    made = await change(services, actor, do)
    await _reload(services)
    return made


async def enable_source(services: Services, actor: Actor, name: str, *, enabled: bool) -> SignInSource:
    """Who signed in through one that is disabled is signed out. Raises Unknown."""

    def do(t: Transaction) -> SignInSource:
        _require(t)
        rows.set_source_enabled(t.connection, t.actor, name, enabled=enabled, now=t.now)
        return _source(t, name)

    changed = await change(services, actor, do)
    await _reload(services)
    return changed


async def delete_source(services: Services, actor: Actor, name: str) -> None:
    """Its users stay but can't sign in through it, and those who have are signed out. Raises Unknown."""

    def do(t: Transaction) -> None:
        _require(t)
        rows.remove_source(t.connection, t.actor, name, now=t.now)

    await change(services, actor, do)
    await _reload(services)


def _require(t: Transaction) -> None:
    t.require(Action.MANAGE_SYSTEM)
    if t.access.mode != "open":
        t.require_in_person()


def _source(t: Transaction, name: str) -> SignInSource:
    return next(source for source in rows.list_sources(t.connection) if source.name == name)


async def _reload(services: Services) -> None:
    """This process knows at once; others follow within a minute."""
    if services.accounts is not None:
        await services.accounts.reload()
