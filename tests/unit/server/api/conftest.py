"""A whole registry with accounts in one process: the front, `/v2/`, the token service, the management API."""

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import update

from entrepot.server.access.decision.model import SystemRole
from entrepot.server.access.directory.accounts import create_robot, create_user
from entrepot.server.access.directory.grants import add_grant
from entrepot.server.access.directory.projects import create_project, get_project
from entrepot.server.access.directory.teams import add_member, create_team
from entrepot.server.access.secrets.access_tokens import mint, rotate_robot_secret
from entrepot.server.access.secrets.passwords import hash_password
from entrepot.server.compose import build, prepare
from entrepot.server.config.model import AccessSection, Config, LogSection, ServerSection
from entrepot.server.control.services import Services
from entrepot.server.db.tables.access import principal
from entrepot.server.http.crowd import Crowd
from entrepot.server.http.front import Front
from entrepot.server.http.probes import Probes
from entrepot.server.http.watch import TransferWatch
from entrepot.server.process.app import RegistryApp
from entrepot.server.process.site import open_site
from entrepot.server.telemetry.access_log import AccessLog, RequestIds
from entrepot.server.v2.context import V2Context
from entrepot.server.v2.dispatch import V2Application
from tests.support.actors import user
from tests.support.images import Image, image

PASSWORD = "correct horse battery"
PASSWORD_HASH = hash_password(PASSWORD)
ROOT = user("root")
BASE = "http://registry.test"


@dataclass
class Registry:
    """The running application and who is known to it."""

    services: Services
    client: httpx.AsyncClient
    setup: str
    secrets: dict[str, str] = field(default_factory=dict)

    @property
    def now(self) -> int:
        return self.services.catalog.clock.now()

    async def write(self, fn: Any, *args: Any, **named: Any) -> Any:
        return await self.services.catalog.write(lambda c: fn(c, ROOT, *args, now=self.now, **named))

    async def user(self, name: str, *, role: SystemRole | None = None, **more: Any) -> Any:
        self.secrets[name] = PASSWORD
        return await self.write(create_user, name=name, password_hash=PASSWORD_HASH, system_role=role, **more)

    async def forget_passwords(self) -> None:
        """As right after the first start: no admin can sign in."""
        forget = update(principal).values(password_hash=None)
        await self.services.catalog.write(lambda connection: connection.execute(forget) and None)

    async def robot(self, name: str) -> Any:
        made = await self.write(create_robot, name=name)
        secret = await self.write(rotate_robot_secret, robot_id=made.id, robot=made.name, overlap=0)
        self.secrets[name] = str(secret.text)
        return made

    async def project(self, name: str, visibility: str = "private") -> int:
        return int((await self.write(create_project, name=name, visibility=visibility)).id)

    async def grant(self, account: Any, project_id: int, role: str, **more: Any) -> Any:
        return await self.write(
            add_grant, project_id=project_id, role_name=role, principal_id=account.id, **more
        )

    async def token(self, account: Any, **more: Any) -> str:
        secret = await self.write(mint, kind="pat", owner_id=account.id, owner=account.name, **more)
        return str(secret.text)

    def auth(self, name: str | None) -> tuple[str, str] | None:
        return None if name is None else (name, self.secrets[name])

    async def call(self, method: str, path: str, who: str | None = None, **more: Any) -> httpx.Response:
        """As `who` (with Basic), or anonymous."""
        return await self.client.request(method, path, auth=self.auth(who), **more)

    async def api(self, method: str, path: str, who: str | None = None, **more: Any) -> httpx.Response:
        return await self.call(method, f"/api/v1{path}", who, **more)

    async def bearer(self, scope: str, who: str | None = None) -> str:
        answer = await self.client.get("/token", params={"scope": scope}, auth=self.auth(who))
        return str(answer.json()["token"])

    async def push(self, repository: str, tag: str, who: str = "root", files: Any = None) -> Image:
        made = image(files if isinstance(files, tuple) else [files or {"hello": b"hello"}])
        for digest, content in made.blobs.items():
            answer = await self.call(
                "POST", f"/v2/{repository}/blobs/uploads/?digest={digest}", who, content=content
            )
            assert answer.status_code == 201, answer.text
        answer = await self.call(
            "PUT",
            f"/v2/{repository}/manifests/{tag}",
            who,
            content=made.manifest,
            headers={"content-type": made.media_type},
        )
        assert answer.status_code == 201, answer.text
        return made


@pytest.fixture
async def registry(tmp_path: Path) -> AsyncIterator[Registry]:
    config = Config(
        server=ServerSection(data=tmp_path / "data"),
        access=AccessSection(mode="accounts", registries=("docker.test",)),
        log=replace(LogSection(), access="off"),
    )
    (tmp_path / "data").mkdir(mode=0o700)
    facts = await prepare(config)
    services = await build(config, facts["mode"])
    v2 = V2Context.of(services)
    async with open_site(services) as site:
        handler = RegistryApp(
            V2Application(v2), Probes(services.metrics, services.checks, show_metrics=True), site
        )
        front = Front(
            handler,
            config=config,
            metrics=services.metrics,
            access_log=AccessLog("off"),
            ids=RequestIds(),
            watch=TransferWatch(),
            crowd=Crowd(),
        )
        transport = httpx.ASGITransport(app=front, client=("10.0.0.7", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
            made = Registry(services, client, facts["setup"])
            await made.user("root", role=SystemRole.ADMIN)
            try:
                yield made
            finally:
                await services.close()


@pytest.fixture
async def team(registry: Registry) -> Registry:
    """Project acme with somebody in every role, an image, and a public and a signed-in project beside it."""
    acme = await registry.project("acme")
    await registry.project("open", "public")
    await registry.project("staff", "signed-in")
    for role in ("viewer", "puller", "developer", "maintainer", "owner"):
        await registry.grant(await registry.user(role), acme, role)
    await registry.user("stranger")
    await registry.user("auditor", role=SystemRole.AUDITOR)
    await registry.grant(await registry.robot("acme+ci"), acme, "developer")
    for project in ("acme", "open", "staff"):
        await registry.push(f"{project}/app", "v1")
    return registry


__all__ = ["PASSWORD", "Registry", "add_member", "create_team", "get_project", "json"]
