"""Accounts over each kind of catalog, in two processes of one registry."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from entrepot.server.access.accounts_mode import AccessSettings, AccountsControl
from entrepot.server.access.directory.accounts import create_user
from entrepot.server.access.directory.first_start import prepare_accounts
from entrepot.server.access.secrets.passwords import hash_password
from entrepot.server.access.secrets.sealing import SealKey
from entrepot.server.db import open_catalog
from tests.contract.db.catalogs import (  # noqa: F401 - fixtures
    catalog_url,
    migrated_postgresql_url,
    postgresql_template,
    sqlite_template,
    sqlite_url,
)
from tests.support.actors import user

ROOT = user("root")
PASSWORD = "correct horse battery"
Node = Callable[[], "object"]


@pytest.fixture
async def nodes(catalog_url: str, tmp_path: Path) -> AsyncIterator[tuple[AccountsControl, AccountsControl]]:  # noqa: F811
    """Two processes that share a catalog and nothing else; alice and bob are known."""
    key = tmp_path / "access.key"
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            catalog = open_catalog(catalog_url)
            stack.push_async_callback(catalog.close)
            if not made:
                await catalog.write(
                    prepare_accounts, SealKey.load_or_create(key), "entrepot", catalog.clock.now()
                )
            control = AccountsControl(catalog, AccessSettings(seal_file=key))
            stack.push_async_callback(control.close)
            await control.start()
            made.append(control)
        hashed = hash_password(PASSWORD)
        for name in ("alice", "bob"):
            await made[0].catalog.write(
                lambda c, name=name: create_user(c, ROOT, now=1, name=name, password_hash=hashed)
            )
        yield made[0], made[1]
