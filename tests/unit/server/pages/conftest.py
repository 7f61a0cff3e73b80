"""The registry of the management tests, visited by people with browsers."""

import re
from dataclasses import dataclass
from typing import Any

import httpx

from entrepot.server.access.decision.model import Principal, PrincipalKind
from entrepot.server.access.directory.accounts import get_account
from entrepot.server.access.secrets.sessions import cookie_name, create_session, csrf_token
from entrepot.server.pages.kit.form_key import form_token, new_form_key
from tests.unit.server.api.conftest import BASE, Registry, registry, team

__all__ = ["Person", "registry", "team", "visit"]

_PLAIN = "http"


@dataclass
class Person:
    """Somebody's browser: a session when they are signed in, a form cookie when not."""

    registry: Registry
    name: str | None
    session: str = ""
    form_key: str = ""

    @property
    def token(self) -> str:
        return csrf_token(self.session) if self.session else form_token(self.form_key)

    def cookies(self) -> dict[str, str]:
        if self.session:
            return {"cookie": f"{cookie_name(_PLAIN)}={self.session}"}
        return {"cookie": f"entrepot-form={self.form_key}"}

    async def get(self, path: str) -> httpx.Response:
        auth = self.registry.auth(self.name) if self.name and "+" in self.name else None
        return await self.registry.client.get(path, headers=self.cookies(), auth=auth)

    async def post(self, path: str, **fields: Any) -> httpx.Response:
        """Sends a form of our own page; lists are repeated fields."""
        data = {"_csrf": self.token, **fields}
        headers = {"origin": BASE, "sec-fetch-site": "same-origin", **self.cookies()}
        return await self.registry.client.post(path, data=data, headers=headers)


async def visit(registry: Registry, name: str | None) -> Person:
    """Robots have no sessions: they show their secret."""
    if name is None or "+" in name:
        return Person(registry, name, form_key=new_form_key())
    account = await registry.services.catalog.read(get_account, name)
    who = Principal(PrincipalKind.USER, name, id=account.id, epoch=account.epoch, credential="password")
    catalog = registry.services.catalog
    session = await catalog.write(create_session, who, "10.0.0.7", "test", registry.now)
    return Person(registry, name, session=str(session))


def words(answer: httpx.Response) -> str:
    """What a reader sees."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text))
