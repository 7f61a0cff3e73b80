"""The schema that migrations make, on both databases."""

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text

from entrepot.server.db import check_schema, upgrade
from entrepot.server.db import migrate as migrations
from entrepot.server.db.engine import parse_catalog_url
from entrepot.server.db.errors import SchemaMismatch
from entrepot.server.db.migrate import downgrade, schema_version
from entrepot.server.db.tables import metadata


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.db"
    return str(request.getfixturevalue("postgresql_url"))


def on(url: str, work: object) -> object:
    return migrations._with_connection(parse_catalog_url(url), work)  # type: ignore[arg-type]


def differences(connection: Connection) -> list[object]:
    return list(compare_metadata(MigrationContext.configure(connection), metadata))


def test_migrations_make_the_tables_the_code_describes_and_go_back(empty_url: str) -> None:
    with pytest.raises(SchemaMismatch, match="empty"):
        check_schema(empty_url)
    upgrade(empty_url)
    check_schema(empty_url)
    assert on(empty_url, differences) == []
    upgrade(empty_url)  # nothing left to do
    downgrade(empty_url, "base")
    assert schema_version(empty_url) is None
    upgrade(empty_url)
    check_schema(empty_url)


def test_a_newer_schema_is_refused_in_words(empty_url: str) -> None:
    """C4: an old program never touches what a newer one has made."""
    upgrade(empty_url)
    on(empty_url, lambda c: c.execute(text("update alembic_version set version_num = '9999'")))
    for refused in (upgrade, check_schema):
        with pytest.raises(SchemaMismatch, match="newer version"):
            refused(empty_url)
    assert schema_version(empty_url) == "9999"


def test_an_older_schema_is_refused_until_it_is_migrated(empty_url: str) -> None:
    upgrade(empty_url, "0001")
    with pytest.raises(SchemaMismatch, match="needs"):
        check_schema(empty_url)
    upgrade(empty_url)
    check_schema(empty_url)


def test_a_migration_that_fails_leaves_the_old_schema(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: a migration is one transaction."""
    upgrade(empty_url, "0001")
    real = migrations._upgrade

    def half(connection: Connection, revision: str) -> None:
        real(connection, revision)
        raise OSError("the machine stopped here")

    monkeypatch.setattr(migrations, "_upgrade", half)
    with pytest.raises(OSError, match="stopped"):
        upgrade(empty_url)
    assert schema_version(empty_url) == "0001"
