"""The token service's rules, without HTTP: what a bearer token says, made and read back.

A token lives five minutes at most and says: who (`sub`, with the principal's id and epoch), what for
(`access`, as every registry reads it) and, for this registry alone, the ids the project and repository had
when it was made. A right that is not granted is left out; it is never an error.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from entrepot.server.access.decision.errors import InvalidToken
from entrepot.server.access.decision.model import Action, Principal, PrincipalKind, Resource, TokenScope
from entrepot.server.access.decision.policy import AccessFacts, authorize, granted_wire_actions
from entrepot.server.access.decision.scopes import WantedScope
from entrepot.server.access.secrets.signing import KeyRing

__all__ = ["MAX_LIFE_S", "MIN_LIFE_S", "GrantedScope", "IssuedToken", "grant_scope", "issue", "read_claims"]

MAX_LIFE_S: Final = 300
MIN_LIFE_S: Final = 60
"""docker takes shorter lives for a minute anyway."""
_PRIVATE: Final = "entrepot"
"""The claim with our own fields; other verifiers ignore it."""
_EVERYTHING: Final = frozenset({"*"})
"""All that the catalog's scope can hold."""


@dataclass(frozen=True, slots=True)
class GrantedScope:
    """What a scope asked for turned into."""

    kind: str
    name: str
    actions: frozenset[str]
    project_id: int | None = None
    repository_id: int | None = None

    @property
    def public_actions(self) -> list[str]:
        """As other registries know them."""
        return sorted(self.actions - {"read"})


@dataclass(frozen=True, slots=True)
class IssuedToken:
    """`text` is the signed token; times in seconds since 1970."""

    text: str
    issued_at: int
    life_s: int
    scope: str


def grant_scope(
    facts: AccessFacts, who: Principal, wanted: WantedScope, *, for_other_registry: bool = False
) -> GrantedScope:
    """Pure. The catalog of this registry shows each caller their own; another's shows all there is."""
    if wanted.kind == "registry":
        if for_other_registry:
            allowed = authorize(facts, who, Action.READ_SYSTEM, Resource()).allowed
        else:
            allowed = authorize(facts, who, Action.LIST, Resource()).allowed or who.is_anonymous
        return GrantedScope("registry", wanted.name, wanted.actions & _EVERYTHING if allowed else frozenset())
    return GrantedScope(
        "repository",
        wanted.name,
        granted_wire_actions(facts, who, wanted.name, wanted.actions, for_other_registry=for_other_registry),
        facts.project_id,
        facts.repository_id,
    )


def resource_of(scope: WantedScope) -> Resource:
    return Resource(repository=scope.name) if scope.kind == "repository" else Resource()


def issue(
    keys: KeyRing,
    who: Principal,
    granted: Sequence[GrantedScope],
    *,
    issuer: str,
    audience: str,
    now_s: float,
    life_s: int = MAX_LIFE_S,
    for_other_registry: bool = False,
) -> IssuedToken:
    """Sign. For another registry the certificate goes along, and nothing of ours."""
    issued_at = int(now_s)
    kept = [scope for scope in granted if scope.actions]
    claims: dict[str, Any] = {
        "iss": issuer,
        "sub": who.name,
        "aud": audience,
        "exp": issued_at + life_s,
        "nbf": issued_at - 10,
        "iat": issued_at,
        "jti": secrets.token_urlsafe(12),
        "access": [
            {"type": scope.kind, "name": scope.name, "actions": scope.public_actions} for scope in kept
        ],
    }
    if not for_other_registry:
        claims[_PRIVATE] = {
            "k": who.kind.value,
            "i": who.id,
            "e": who.epoch,
            **({"h": who.entry} if who.entry else {}),
            "t": who.token_id,
            "s": [
                [
                    scope.name if scope.kind == "repository" else "",
                    sorted(scope.actions),
                    scope.project_id,
                    scope.repository_id,
                ]
                for scope in kept
            ],
        }
    text = keys.sign(claims, now=now_s, with_certificate=for_other_registry)
    scope = " ".join(f"{s.kind}:{s.name}:{','.join(s.public_actions)}" for s in kept if s.public_actions)
    return IssuedToken(text=text, issued_at=issued_at, life_s=life_s, scope=scope)


def read_claims(claims: dict[str, Any]) -> Principal:
    """The principal of a token whose signature and times were verified. Raises InvalidToken."""
    try:
        own = claims[_PRIVATE]
        return Principal(
            kind=PrincipalKind(own["k"]),
            name=str(claims["sub"]),
            id=int(own["i"]),
            epoch=int(own["e"]),
            token_id=own["t"],
            scopes=tuple(
                TokenScope(name, frozenset(actions), pid, rid) for name, actions, pid, rid in own["s"]
            ),
            credential="bearer",
            entry=str(own.get("h", "")),
        )
    except (AttributeError, KeyError, TypeError, ValueError):
        raise InvalidToken("the token was not made for this registry") from None
