"""A catalog with accounts, in a folder of the test."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from entrepot.server.access.accounts_mode import AccessSettings, AccountsControl
from entrepot.server.access.decision.model import SystemRole
from entrepot.server.access.directory.accounts import Account, create_robot, create_user
from entrepot.server.access.directory.first_start import prepare_accounts
from entrepot.server.access.directory.grants import GrantRow, add_grant
from entrepot.server.access.directory.projects import create_project
from entrepot.server.access.secrets.passwords import hash_password
from entrepot.server.access.secrets.sealing import SealKey
from entrepot.server.access.secrets.secret import NewSecret
from entrepot.server.db import Catalog, open_catalog, upgrade
from tests.support.actors import user

ROOT = user("root")
PASSWORD = "correct horse battery"
PASSWORD_HASH = hash_password(PASSWORD)


@dataclass
class Accounts:
    """The control and short ways to fill its catalog."""

    control: AccountsControl
    catalog: Catalog
    setup: str

    @property
    def now(self) -> int:
        return self.catalog.clock.now()

    async def user(self, name: str, *, role: SystemRole | None = None, **more: object) -> Account:
        return await self.catalog.write(
            lambda c: create_user(
                c, ROOT, now=self.now, name=name, password_hash=PASSWORD_HASH, system_role=role, **more
            )
        )

    async def project(self, name: str, visibility: str = "private") -> int:
        made = await self.catalog.write(
            lambda c: create_project(c, ROOT, now=self.now, name=name, visibility=visibility)
        )
        return made.id

    async def grant(self, account: Account, project_id: int, role: str, **more: object) -> GrantRow:
        return await self.catalog.write(
            lambda c: add_grant(
                c,
                ROOT,
                now=self.now,
                project_id=project_id,
                role_name=role,
                principal_id=account.id,
                **more,
            )
        )

    async def robot(self, name: str) -> tuple[Account, NewSecret]:
        from entrepot.server.access.secrets.access_tokens import rotate_robot_secret

        robot = await self.catalog.write(lambda c: create_robot(c, ROOT, now=self.now, name=name))
        secret = await self.catalog.write(
            lambda c: rotate_robot_secret(
                c, ROOT, now=self.now, robot_id=robot.id, robot=robot.name, overlap=0
            )
        )
        return robot, secret


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[Accounts]:
    url = f"sqlite:///{tmp_path}/catalog.db"
    upgrade(url)
    catalog = open_catalog(url)
    seal = SealKey.load_or_create(tmp_path / "access.key")
    setup = await catalog.write(prepare_accounts, seal, "entrepot", catalog.clock.now())
    control = AccountsControl(
        catalog, AccessSettings(seal_file=tmp_path / "access.key", other_services=("docker",))
    )
    await control.start()
    try:
        yield Accounts(control, catalog, str(setup))
    finally:
        await control.close()
        await catalog.close()
