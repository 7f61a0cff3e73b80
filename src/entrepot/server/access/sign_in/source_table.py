"""Sign-in sources as rows, and the live objects made of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal

from sqlalchemy import Connection, delete, insert, select, update

from entrepot.errors import InvalidInput
from entrepot.server.access.audit import record
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.errors import AlreadyExists, Unknown
from entrepot.server.access.directory.accounts import end_log_ins_from
from entrepot.server.access.directory.names import parse_short_name
from entrepot.server.access.secrets.sealing import SealBroken, SealKey
from entrepot.server.access.sign_in.sources.base import PasswordSource
from entrepot.server.access.sign_in.sources.htpasswd import HtpasswdFile, RunHash
from entrepot.server.access.sign_in.sources.ldap import LdapDirectory, LdapSettings
from entrepot.server.access.sign_in.sources.oidc import OidcProvider, OidcSettings
from entrepot.server.access.sign_in.sources.outbound import Outbound
from entrepot.server.db.tables.access import sign_in_source

__all__ = [
    "LiveSources",
    "SignInSource",
    "add_source",
    "build_sources",
    "disable_unreadable",
    "list_sources",
    "remove_source",
    "set_source_enabled",
]

SourceKind = Literal["htpasswd", "ldap", "oidc"]
RESERVED: Final = frozenset({"local", "any"})


@dataclass(frozen=True, slots=True)
class SignInSource:
    """One row; its secret stays sealed."""

    name: str
    kind: str
    enabled: bool
    settings: Mapping[str, Any]
    sealed: bytes | None
    created_at: int


@dataclass(frozen=True, slots=True)
class LiveSources:
    """What the rows stand for."""

    passwords: tuple[PasswordSource, ...] = ()
    providers: Mapping[str, OidcProvider] | None = None
    made_of: tuple[tuple[SignInSource, PasswordSource | OidcProvider], ...] = ()

    def password_source(self, name: str) -> PasswordSource | None:
        return next((source for source in self.passwords if source.name == name), None)


def list_sources(connection: Connection) -> list[SignInSource]:
    query = select(sign_in_source).order_by(sign_in_source.c.name)
    return [
        SignInSource(
            row.name, row.kind, bool(row.enabled), json.loads(row.settings), row.secret, row.created_at
        )
        for row in connection.execute(query)
    ]


def add_source(
    connection: Connection,
    by: Actor,
    seal: SealKey,
    *,
    now: int,
    name: str,
    kind: SourceKind,
    settings: Mapping[str, Any],
    secret: str | None = None,
) -> None:
    """Raises InvalidName, InvalidInput (a setting is unknown or missing), AlreadyExists."""
    name = parse_short_name(name, "sign-in source")
    if name in RESERVED:
        raise AlreadyExists(f"a sign-in source can't be called {name}")
    parse_settings(kind, settings)
    if connection.execute(select(sign_in_source.c.name).where(sign_in_source.c.name == name)).first():
        raise AlreadyExists(f"sign-in source {name} exists already")
    connection.execute(
        insert(sign_in_source).values(
            name=name,
            kind=kind,
            enabled=True,
            settings=json.dumps(dict(settings)),
            secret=seal.seal(secret.encode(), context=f"secret of source {name}") if secret else None,
            created_at=now,
        )
    )
    record(connection, by, "add-sign-in-source", now=now, new=name, detail={"kind": kind, **settings})


def remove_source(connection: Connection, by: Actor, name: str, *, now: int) -> None:
    """Its users stay but can't sign in through it, and those who have are signed out. Raises Unknown."""
    if connection.execute(delete(sign_in_source).where(sign_in_source.c.name == name)).rowcount == 0:
        raise Unknown(f"no sign-in source is called {name}")
    end_log_ins_from(connection, name)
    record(connection, by, "remove-sign-in-source", now=now, old=name)


def set_source_enabled(connection: Connection, by: Actor, name: str, *, enabled: bool, now: int) -> None:
    """Who signed in through one that is disabled is signed out. Raises Unknown."""
    changed = connection.execute(
        update(sign_in_source).where(sign_in_source.c.name == name).values(enabled=enabled)
    )
    if changed.rowcount == 0:
        raise Unknown(f"no sign-in source is called {name}")
    if not enabled:
        end_log_ins_from(connection, name)
    record(connection, by, "change-sign-in-source", now=now, new=f"{name} enabled={enabled}")


def disable_unreadable(connection: Connection, by: Actor, seal: SealKey, *, now: int) -> list[SignInSource]:
    """Disable the sources whose secret `seal` can't open, and return them as they were."""
    unreadable = list[SignInSource]()
    for row in list_sources(connection):
        try:
            _open_secret(row, seal)
        except SealBroken:
            set_source_enabled(connection, by, row.name, enabled=False, now=now)
            unreadable.append(row)
    return unreadable


def _open_secret(row: SignInSource, seal: SealKey) -> str:
    """The empty text when it has none. Raises SealBroken."""
    return seal.open(row.sealed, context=f"secret of source {row.name}").decode() if row.sealed else ""


def build_sources(
    connection: Connection, seal: SealKey, before: LiveSources, *, outbound: Outbound, run_hash: RunHash
) -> LiveSources:
    """Live objects of the enabled rows: those there were `before`, with what they know, where the row is the
    same. Nothing is asked yet.
    """
    made_of: list[tuple[SignInSource, PasswordSource | OidcProvider]] = []
    for row in list_sources(connection):
        if not row.enabled:
            continue
        kept = next((live for made_from, live in before.made_of if made_from == row), None)
        if kept is not None:
            made_of.append((row, kept))
            continue
        secret = _open_secret(row, seal)
        settings = parse_settings(row.kind, row.settings)
        if isinstance(settings, OidcSettings):
            made_of.append((row, OidcProvider(row.name, settings, secret)))
        elif isinstance(settings, LdapSettings):
            made_of.append((row, LdapDirectory(row.name, settings, secret, outbound)))
        else:
            made_of.append((row, HtpasswdFile(row.name, settings, run_hash)))
    return LiveSources(
        passwords=tuple(live for _, live in made_of if not isinstance(live, OidcProvider)),
        providers={row.name: live for row, live in made_of if isinstance(live, OidcProvider)},
        made_of=tuple(made_of),
    )


def parse_settings(kind: str, settings: Mapping[str, Any]) -> OidcSettings | LdapSettings | Path:
    """Raises InvalidInput with the settings there are."""
    if kind == "htpasswd":
        if set(settings) != {"path"} or not Path(str(settings["path"])).is_absolute():
            raise InvalidInput("an htpasswd source has one setting, path, which is absolute")
        return Path(str(settings["path"]))
    made = OidcSettings if kind == "oidc" else LdapSettings
    known = {item.name: item for item in fields(made)}
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InvalidInput(
            f"{kind} has no setting {', '.join(unknown)}", hint="settings: " + ", ".join(known)
        )
    values = {key: _typed(str(known[key].type), value) for key, value in settings.items()}
    try:
        return made(**values)
    except TypeError:
        raise InvalidInput(f"{kind} needs more settings", hint="settings: " + ", ".join(known)) from None


def _typed(kind: str, value: Any) -> Any:
    if kind == "bool":
        return value if isinstance(value, bool) else str(value).lower() in {"true", "yes", "1"}
    if kind.startswith("tuple"):
        return tuple(value) if isinstance(value, list) else tuple(filter(None, str(value).split(",")))
    return str(value)
