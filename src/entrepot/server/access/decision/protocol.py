"""The seam between the edge and access: what a request asks, whatever the mode.

Order in a request: `authenticate` the Authorization header, `decide` the route's action, hand
`permit_for(principal)` to the service, which calls it inside its transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sqlalchemy import Connection

from entrepot.server.access.decision.change import MayRead, Permit
from entrepot.server.access.decision.model import Action, Decision, Principal, Resource
from entrepot.server.access.decision.patterns import Visible

__all__ = ["AccessControl"]


class AccessControl(Protocol):
    """Open mode and accounts mode."""

    @property
    def mode(self) -> str:
        """`open` or `accounts`."""

    async def authenticate(self, authorization: str | None, *, address: str | None = None) -> Principal:
        """Whose request is this. No header: anonymous (open mode: the open principal).

        Raises InvalidCredentials or InvalidToken (answer 401 with `challenge(error=e.challenge_error)`) and
        TooManyAttempts (429 with Retry-After).
        """

    async def decide(
        self, principal: Principal, action: Action, repository: str | None = None, tag: str | None = None
    ) -> Decision:
        """May this principal do that. `answer` says whether a refusal is a 401 challenge or a 403."""

    def challenge(self, *, base_url: str, scopes: Sequence[str] = (), error: str | None = None) -> str | None:
        """The value of WWW-Authenticate for a 401; None when the mode has no credentials.

        `base_url` is the registry as the client reached it (`https://host:port`), `scopes` in wire form
        (`repository:a/b:pull,push`).
        """

    def permit_for(self, principal: Principal) -> Permit:
        """The callable a service asks inside its transaction."""

    def decide_in(
        self, connection: Connection, principal: Principal, action: Action, resource: Resource
    ) -> Decision:
        """As `decide`, from what this transaction sees, for any resource."""

    def visible_in(self, connection: Connection, principal: Principal) -> Visible:
        """As `visible`, from what this transaction sees."""

    def may_read_for(self, principal: Principal) -> MayRead:
        """The callable a mount asks about its source, inside its transaction."""

    async def visible(self, principal: Principal) -> Visible:
        """The filter for lists and searches."""
