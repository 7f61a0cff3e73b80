"""Migrated databases for tests, each quick to make: a copied file, a database from a template."""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from entrepot.server.db import upgrade
from tests.support.postgresql import run_sql

KINDS = ("sqlite", "postgresql")
SQLITE_ONLY = pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
"""For tests of what does not depend on the database."""


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    file = tmp_path_factory.mktemp("catalog") / "template.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgresql_template(postgresql_port: int) -> Iterator[str]:
    """The name of a migrated database that others are created from."""
    name = f"template_{uuid.uuid4().hex}"
    run_sql(postgresql_port, f"create database {name} template template0")
    upgrade(postgresql_database_url(postgresql_port, name))
    yield name
    run_sql(postgresql_port, f"drop database if exists {name} with (force)")


@pytest.fixture(params=KINDS)
def catalog_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty catalog: on SQLite, then on PostgreSQL."""
    if request.param == "sqlite":
        yield copied_sqlite(request.getfixturevalue("sqlite_template"), tmp_path)
        return
    port = request.getfixturevalue("postgresql_port")
    with created_postgresql(port, request.getfixturevalue("postgresql_template")) as url:
        yield url


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """The URL of a migrated, empty catalog on SQLite."""
    return copied_sqlite(sqlite_template, tmp_path)


@pytest.fixture
def migrated_postgresql_url(postgresql_port: int, postgresql_template: str) -> Iterator[str]:
    """The URL of a migrated, empty catalog on PostgreSQL."""
    with created_postgresql(postgresql_port, postgresql_template) as url:
        yield url


def copied_sqlite(template: Path, folder: Path) -> str:
    file = folder / "catalog.db"
    shutil.copy(template, file)
    return f"sqlite:///{file}"


@contextmanager
def created_postgresql(port: int, template: str) -> Iterator[str]:
    name = f"t{uuid.uuid4().hex}"
    run_sql(port, f"create database {name} template {template}")
    yield postgresql_database_url(port, name)
    run_sql(port, f"drop database if exists {name} with (force)")


def postgresql_database_url(port: int, name: str) -> str:
    return f"postgresql://postgres@127.0.0.1:{port}/{name}"
