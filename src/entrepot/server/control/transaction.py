"""One use case's transaction: who does it, when, and what they may.

A use case is `async def f(services, actor, …)` and hands a function to `change` or `look`. What it asks with
`require` is decided from the facts that the same transaction sees, so that nothing changes between the
question and the change; what it raises takes everything back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeVar

from sqlalchemy import Connection

from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.change import Permit
from entrepot.server.access.decision.errors import InvalidCredentials, InvalidToken, PermitRefused
from entrepot.server.access.decision.model import Action, Decision, PrincipalKind, Resource, Ruling
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.access.decision.protocol import AccessControl
from entrepot.server.control.services import Services
from entrepot.server.db.clock import microseconds

__all__ = ["Transaction", "change", "look", "require", "require_in_person"]

T = TypeVar("T")
UNDO_ENDS_EARLY: Final = microseconds(30)
"""Longer than a transaction waits for a lock."""
_IN_PERSON = frozenset({"password", "session", "oidc"})


@dataclass(frozen=True, slots=True)
class Transaction:
    """Lives as long as its connection."""

    connection: Connection
    actor: Actor
    now: int
    """Microseconds since 1970."""
    steady: int
    """The clock that deletions are measured with; microseconds, never set back."""
    access: AccessControl
    undo_window: int = 0
    """Microseconds."""

    @property
    def kept_since(self) -> int:
        """What was deleted before this steady time is given up: collection takes it, or has begun to.

        It comes before the end of the undo window by so much that another node's collection, whose clock
        may be a little ahead, can't begin before this transaction has ended.
        """
        return self.steady - self.undo_window + min(UNDO_ENDS_EARLY, self.undo_window // 10)

    @property
    def permit(self) -> Permit:
        """For the functions of `repos`, which ask about each thing they change."""
        return self.access.permit_for(self.actor.principal)

    @property
    def visible(self) -> Visible:
        """The filter of what this actor may see in lists."""
        return self.access.visible_in(self.connection, self.actor.principal)

    def require(
        self,
        action: Action,
        *,
        project: str | None = None,
        repository: str | None = None,
        tag: str | None = None,
    ) -> None:
        """About the registry itself when nothing is named.

        Raises InvalidCredentials (sign in), InvalidToken or AccessDenied.
        """
        decision = self._decide(action, Resource(project=project, repository=repository, tag=tag))
        if decision.allowed:
            return
        if decision.answer is Ruling.CHALLENGE:
            raise (InvalidToken if decision.challenge_error else InvalidCredentials)(decision.reason)
        raise PermitRefused(decision.reason, rule=decision.rule)

    def may(
        self,
        action: Action,
        *,
        project: str | None = None,
        repository: str | None = None,
        tag: str | None = None,
    ) -> bool:
        """The same question, for what an answer shows."""
        return self._decide(action, Resource(project=project, repository=repository, tag=tag)).allowed

    def require_reach(self, project: str, reach: Iterable[tuple[str, str]]) -> None:
        """Whoever gives a role, or can hold a robot's secret, may not so get more than they have themselves.

        `reach`: actions, each with a pattern of tags, which is asked about as if it were a tag: a grant whose
        pattern fits it fits all that it stands for. Raises as `require` does.
        """
        for action, tags in sorted(reach):
            self.require(Action(action), project=project, tag=tags)

    def require_in_person(self) -> None:
        """A token must not make itself a wider or longer-lived credential.

        Raises InvalidCredentials, AccessDenied. Whoever sits at the server's own command line is there.
        """
        _require_in_person(self.access, self.actor)

    def _decide(self, action: Action, resource: Resource) -> Decision:
        return self.access.decide_in(self.connection, self.actor.principal, action, resource)


async def change(services: Services, actor: Actor, do: Callable[[Transaction], T]) -> T:
    """`do` as one transaction, acknowledged when it is on disk. It may be run again after a conflict."""

    def in_transaction(connection: Connection) -> T:
        return do(_begin(services, connection, actor))

    in_transaction.__qualname__ = do.__qualname__  # what the log of slow queries names
    return await services.catalog.write(in_transaction)


async def look(services: Services, actor: Actor, see: Callable[[Transaction], T]) -> T:
    """`see` on one snapshot, read-only."""

    def in_transaction(connection: Connection) -> T:
        return see(_begin(services, connection, actor))

    in_transaction.__qualname__ = see.__qualname__
    return await services.catalog.read(in_transaction)


async def require(services: Services, actor: Actor, action: Action) -> None:
    """For what is many transactions and may take hours: asked once, before the first. Raises AccessDenied."""

    def see(t: Transaction) -> None:
        t.require(action)

    await look(services, actor, see)


def require_in_person(services: Services, actor: Actor) -> None:
    """The early question of pages for people alone; each use case that needs it asks again.

    Raises InvalidCredentials, AccessDenied.
    """
    _require_in_person(services.access, actor)


def _require_in_person(access: AccessControl, actor: Actor) -> None:
    who = actor.principal
    if who.kind is PrincipalKind.OPERATOR:
        return
    if access.mode == "open":
        raise PermitRefused("this registry is open: it has no accounts", rule="open-mode")
    if who.is_anonymous:
        raise InvalidCredentials("sign in first")
    if who.kind is not PrincipalKind.USER or who.credential not in _IN_PERSON:
        raise PermitRefused("sign in with a password to do this", rule="in-person")


def _begin(services: Services, connection: Connection, actor: Actor) -> Transaction:
    clock = services.catalog.clock
    window = microseconds(services.config.gc.undo_window)
    return Transaction(connection, actor, clock.now(), clock.steady(), services.access, window)
