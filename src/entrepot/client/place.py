"""A repository at a registry with an account: what every kind of request there needs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from entrepot.client.answers import Subject
from entrepot.client.auth import Authorizer, Grants
from entrepot.client.errors import ContentNotFound
from entrepot.client.session import Request, Session
from entrepot.client.transport import Answer
from entrepot.errors import NotFound
from entrepot.oci.digest import Digest


class Place(msgspec.Struct, frozen=True):
    """Immutable; shared by all threads."""

    session: Session
    authorizer: Authorizer
    repository: str
    """Name on the wire."""
    actions: tuple[str, ...]
    """Actions of every token, so that one token serves the whole run."""
    name: str
    """Name the user knows: registry and repository."""

    @property
    def registry(self) -> str:
        return self.session.registry

    def grants(self, actions: Iterable[str] = (), *, also_pull: str | None = None) -> Grants:
        """What a token must allow: the place's actions, more of them, and reading another repository."""
        items = {("repository", self.repository, action) for action in (*self.actions, *actions)}
        if also_pull is not None:
            items.add(("repository", also_pull, "pull"))
        return Grants(frozenset(items))

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        actions: Iterable[str] = (),
        also_pull: str | None = None,
        retried: bool = True,
    ) -> Answer:
        grants = self.grants(actions, also_pull=also_pull)
        request = Request(method, url, grants, headers or {}, body, retried)
        return self.session.request(request, self.authorizer)

    def shown(self, reference: str | Digest) -> str:
        separator = "@" if isinstance(reference, Digest) else ":"
        return f"{self.name}{separator}{reference}"

    def subject(
        self, thing: str, *, action: str = "pull", missing: type[NotFound] = ContentNotFound
    ) -> Subject:
        """For the message of an answer that refuses."""
        return Subject(
            name=self.name,
            thing=thing,
            action=action,
            registry=self.registry,
            anonymous=self.authorizer.anonymous,
            missing=missing,
        )
