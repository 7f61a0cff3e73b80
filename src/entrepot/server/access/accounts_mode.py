"""AccessControl of a registry with accounts: the objects of this package put together, one per process."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, select

from entrepot.errors import Unavailable
from entrepot.observability.logs import get_log
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Change, MayRead, Permit
from entrepot.server.access.decision.errors import InvalidCredentials, PermitRefused
from entrepot.server.access.decision.facts import FACTS, facts_from_rows, facts_params, load_facts
from entrepot.server.access.decision.model import (
    ANONYMOUS,
    EVERY_TAG,
    Action,
    Decision,
    Principal,
    PrincipalKind,
    Resource,
)
from entrepot.server.access.decision.patterns import RepositoryPattern, Visible
from entrepot.server.access.decision.policy import AccessFacts, PrincipalState, authorize
from entrepot.server.access.decision.rights import RightsVersion
from entrepot.server.access.decision.scopes import WantedScope
from entrepot.server.access.decision.visible import load_visible
from entrepot.server.access.directory.grants import add_grant
from entrepot.server.access.secrets.access_tokens import sweep_expired
from entrepot.server.access.secrets.issuing import (
    MAX_LIFE_S,
    IssuedToken,
    grant_scope,
    issue,
    read_claims,
    resource_of,
)
from entrepot.server.access.secrets.passwords import PasswordPool
from entrepot.server.access.secrets.sealing import SealKey
from entrepot.server.access.secrets.secret import looks_like_secret
from entrepot.server.access.secrets.signing import KeyRing
from entrepot.server.access.secrets.signing_keys import RELOAD_S, ensure_signing_key, load_keys
from entrepot.server.access.sign_in.authenticator import Authenticator, parse_basic
from entrepot.server.access.sign_in.source_table import LiveSources, build_sources
from entrepot.server.access.sign_in.sources.outbound import Outbound
from entrepot.server.db import Catalog, HotQuery
from entrepot.server.db.clock import SECOND
from entrepot.server.db.tables.access import access_grant
from entrepot.server.db.tables.projects import project

__all__ = ["AccessSettings", "AccountsControl"]

log = get_log(__name__)

_HOT_FACTS: Final = HotQuery(FACTS)
_MAX_VERIFIED: Final = 8192
_MAX_FACTS: Final = 4096
HOUSEKEEPING_S: Final = 3600
"""Each worker looks after keys and expired secrets about this often."""
EXPIRED_KEPT_S: Final = 30 * 24 * 3600
"""Expired tokens stay listed for so long, so that their owner sees why something stopped working."""

_CHANGES: Final[dict[str, Action]] = {
    "push": Action.PUSH,
    "mount": Action.PUSH,
    "create-tag": Action.CREATE_TAG,
    "overwrite-tag": Action.OVERWRITE_TAG,
    "delete-tag": Action.DELETE_TAG,
    "delete-manifest": Action.DELETE_MANIFEST,
    "delete-blob": Action.DELETE_BLOB,
    "create-repository": Action.CREATE_REPOSITORY,
    "delete-repository": Action.DELETE_REPOSITORY,
    "create-project": Action.CREATE_PROJECT,
    "delete-project": Action.DELETE_PROJECT,
    "restore": Action.RESTORE,
}


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """What the configuration says about access."""

    seal_file: Path
    """Key that seals signing keys and client secrets."""
    issuer: str = "entrepot"
    """`iss` of tokens."""
    service: str = "entrepot"
    """`aud` of tokens for this registry."""
    token_life_s: int = MAX_LIFE_S
    other_services: tuple[str, ...] = ()
    """Names (`service`) of Docker Registries that take their tokens from here."""


class AccountsControl:
    """Sign-in, tokens, grants. `start` reads keys and sources; `close` ends the threads."""

    mode = "accounts"

    def __init__(self, catalog: Catalog, settings: AccessSettings) -> None:
        self.catalog = catalog
        self.settings = settings
        self.seal = SealKey.load_or_create(settings.seal_file)
        self.passwords = PasswordPool()
        self.outbound = Outbound()
        self._sources = LiveSources()
        self._rights = RightsVersion(catalog)
        self._keys: KeyRing = KeyRing(())
        self._loaded_at = 0.0
        self._kept_house_at = time.monotonic()
        self._reloading: asyncio.Task[None] | None = None
        self._verified: OrderedDict[str, tuple[Principal, float, KeyRing]] = OrderedDict()
        self._facts: dict[tuple[int, str | None, str | None, str | None], AccessFacts] = {}
        self._facts_version: int | None = None
        self.authenticator = Authenticator(
            catalog,
            sources=lambda: self._sources,
            passwords=self.passwords,
            outbound=self.outbound,
            rights=self._rights,
        )

    async def start(self) -> None:
        """Read signing keys and sign-in sources."""
        self._keys, self._sources = await self.catalog.read(self._load)
        self._loaded_at = time.monotonic()

    async def reload(self) -> None:
        """After a change of keys or sources in this process; other processes follow within a minute."""
        await self.start()

    @property
    def sources(self) -> LiveSources:
        return self._sources

    @property
    def keys(self) -> KeyRing:
        return self._keys

    async def close(self) -> None:
        if self._reloading is not None:
            self._reloading.cancel()
        await self.authenticator.close()
        self.passwords.close()
        self.outbound.close()

    async def authenticate(self, authorization: str | None, *, address: str | None = None) -> Principal:
        if authorization is None:
            return ANONYMOUS
        scheme, _, value = authorization.partition(" ")
        scheme, value = scheme.lower(), value.strip()
        if scheme == "bearer":
            if looks_like_secret(value):
                return await self.authenticator.secret(value, kinds=("pat", "rob"), address=address)
            return self.verify_bearer(value)
        if scheme == "basic":
            name, password = parse_basic(value)
            return await self.authenticator.basic(name, password, address=address)
        raise InvalidCredentials("sign in with Basic or Bearer")

    def verify_bearer(self, token: str) -> Principal:
        """The principal a token of ours speaks for. Raises InvalidToken.

        That the signature is right is remembered until the token expires or the keys change; what the token
        may do is asked each time.
        """
        self._reload_if_old()
        now_s = self.catalog.clock.now() / SECOND
        remembered = self._verified.get(token)
        if remembered is not None and remembered[2] is self._keys and now_s < remembered[1]:
            return remembered[0]
        claims = self._keys.verify(
            token, issuer=self.settings.issuer, audience=self.settings.service, now=now_s
        )
        who = read_claims(claims)
        self._verified[token] = (who, float(claims["exp"]), self._keys)
        while len(self._verified) > _MAX_VERIFIED:
            self._verified.popitem(last=False)
        return who

    async def decide(
        self, principal: Principal, action: Action, repository: str | None = None, tag: str | None = None
    ) -> Decision:
        return await self.decide_on(principal, action, Resource(repository=repository, tag=tag))

    async def decide_on(self, principal: Principal, action: Action, resource: Resource) -> Decision:
        """As `decide`, for any resource."""
        facts = await self.facts(principal, resource)
        return authorize(facts, principal, action, resource)

    async def facts(self, principal: Principal, resource: Resource) -> AccessFacts:
        """What is true now: one point query, or what it said before if nothing that decides was changed."""
        now = self.catalog.clock.now()
        version = await self._rights.current()
        if version is None or version != self._facts_version:
            self._facts.clear()
            self._facts_version = version
        key = (principal.id, principal.token_id, resource.project_name, resource.repository)
        known = self._facts.get(key)
        if known is None or (known.holds_until is not None and now >= known.holds_until):
            rows = await self.catalog.hot(_HOT_FACTS, **facts_params(principal, resource))
            known = facts_from_rows(rows, principal, now=now)
            # Kept only if no other request has seen a newer version while this one waited.
            if (
                version is not None
                and version == self._facts_version
                and known.token_alive  # the secret of a new one may be written without a change of rights
            ):
                if len(self._facts) >= _MAX_FACTS:
                    self._facts.clear()
                self._facts[key] = known
        return self._corrected(known, principal)

    def challenge(self, *, base_url: str, scopes: Sequence[str] = (), error: str | None = None) -> str | None:
        service = base_url.partition("://")[2] or self.settings.service
        # Without a public address the host is what the client says it is.
        parts = [f'realm="{_escaped(base_url)}/token"', f'service="{_escaped(service)}"']
        if scopes:
            parts.append(f'scope="{" ".join(scopes)}"')
        if error:
            parts.append(f'error="{error}"')
        return "Bearer " + ",".join(parts)

    def permit_for(self, principal: Principal) -> Permit:
        created: list[str] = []

        def permit(connection: Connection, change: Change) -> None:
            now = self.catalog.clock.now()
            action = _CHANGES[change.action]
            if action in {Action.CREATE_PROJECT, Action.DELETE_PROJECT}:
                resource = Resource(project=change.repository)
            else:
                resource = Resource(repository=change.repository, tag=change.tag or EVERY_TAG)
            if action is Action.CREATE_REPOSITORY and resource.project_name in created:
                _make_owner(connection, principal, str(resource.project_name), now)
            facts = self._facts_in(connection, principal, resource)
            decision = authorize(facts, _for_change(principal, action), action, resource)
            if not decision.allowed:
                raise PermitRefused(decision.reason, rule=decision.rule)
            if action is Action.CREATE_PROJECT:
                created.append(change.repository)

        return permit

    def may_read_for(self, principal: Principal) -> MayRead:
        def may_read(connection: Connection, repository: str) -> bool:
            resource = Resource(repository=repository)
            return self.decide_in(connection, principal, Action.PULL, resource).allowed

        return may_read

    def decide_in(
        self, connection: Connection, principal: Principal, action: Action, resource: Resource
    ) -> Decision:
        return authorize(self._facts_in(connection, principal, resource), principal, action, resource)

    def _facts_in(self, connection: Connection, principal: Principal, resource: Resource) -> AccessFacts:
        facts = load_facts(connection, principal, resource, now=self.catalog.clock.now())
        return self._corrected(facts, principal)

    async def visible(self, principal: Principal) -> Visible:
        if principal.is_anonymous:
            return Visible(visibilities=("public",))
        seen: Visible = await self.catalog.read(self.visible_in, principal)
        return seen

    def visible_in(self, connection: Connection, principal: Principal) -> Visible:
        if principal.is_anonymous:
            return Visible(visibilities=("public",))
        seen = load_visible(connection, principal, self.catalog.clock.now())
        scopes = principal.scopes
        if scopes is None or any(not scope.repository for scope in scopes):
            return seen
        # A bearer token without the catalog's scope is for its repositories alone.
        return replace(seen, only=tuple(RepositoryPattern(scope.repository) for scope in scopes))

    async def issue_token(
        self, principal: Principal, wanted: Sequence[WantedScope], *, service: str | None = None
    ) -> IssuedToken:
        """A bearer token with as much of what was asked for as the principal has."""
        self._reload_if_old()
        other = service is not None and service in self.settings.other_services
        granted = [
            grant_scope(
                await self.facts(principal, resource_of(scope)), principal, scope, for_other_registry=other
            )
            for scope in wanted
        ]
        return issue(
            self._keys,
            principal,
            granted,
            issuer=self.settings.issuer,
            audience=service if other and service else self.settings.service,
            now_s=self.catalog.clock.now() / SECOND,
            life_s=self.settings.token_life_s,
            for_other_registry=other,
        )

    def _corrected(self, facts: AccessFacts, principal: Principal) -> AccessFacts:
        """A source that keeps its users in memory knows first that one is gone, or is another entry."""
        if facts.source == "local" or principal.is_anonymous or facts.state is not PrincipalState.ACTIVE:
            return facts
        source = self._sources.password_source(facts.source)
        if source is None:
            return facts
        vouched = source.vouches_for(principal.name)
        if vouched is None:
            return replace(facts, state=PrincipalState.GONE)
        return replace(facts, entry=vouched) if vouched else facts

    def _load(self, connection: Connection) -> tuple[KeyRing, LiveSources]:
        sources = build_sources(
            connection, self.seal, self._sources, outbound=self.outbound, run_hash=self.passwords.run
        )
        return load_keys(connection, self.seal), sources

    def _housekeep(self, connection: Connection) -> None:
        """Replace a signing key that has grown old; forget secrets that expired a while ago."""
        now = self.catalog.clock.now()
        ensure_signing_key(
            connection,
            self.seal,
            issuer=self.settings.issuer,
            now=now,
            rotate_old=not self.settings.other_services,
        )
        sweep_expired(connection, now=now, keep=EXPIRED_KEPT_S * SECOND)

    def _reload_if_old(self) -> None:
        if time.monotonic() - self._loaded_at > RELOAD_S and self._reloading is None:
            self._reloading = asyncio.get_running_loop().create_task(self._reload_quietly())

    async def _reload_quietly(self) -> None:
        try:
            if time.monotonic() - self._kept_house_at > HOUSEKEEPING_S:
                self._kept_house_at = time.monotonic()
                await self.catalog.write(self._housekeep)
            await self.start()
        except Unavailable as error:
            log.warning("signing keys not read again", error=error.message)
            self._loaded_at = time.monotonic()
        finally:
            self._reloading = None


def _escaped(text: str) -> str:
    """Inside a quoted string (RFC 9110 5.6.4)."""
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _for_change(principal: Principal, action: Action) -> Principal:
    """A bearer token names repositories; a project is made under the push its route was allowed with."""
    if action is Action.CREATE_PROJECT and principal.scopes is not None:
        return replace(principal, scopes=None)
    return principal


def _make_owner(connection: Connection, principal: Principal, project_name: str, now: int) -> None:
    """Whoever creates a project by pushing to it owns it.

    Not who was only second: their transaction is run again, and finds the project of the first.
    """
    project_id, created_by = connection.execute(
        select(project.c.id, project.c.created_by).where(
            project.c.name == project_name, project.c.deleted_at.is_(None)
        )
    ).one()
    taken = select(access_grant.c.id).where(access_grant.c.project_id == project_id).limit(1)
    if created_by != principal.name or connection.execute(taken).first() is not None:
        return
    if principal.kind in {PrincipalKind.USER, PrincipalKind.ROBOT}:
        add_grant(
            connection,
            Actor(principal),
            now=now,
            project_id=project_id,
            role_name="owner",
            principal_id=principal.id,
        )
