"""The schema that migrations make, on both databases."""

import shutil
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
from entrepot.server.db.settings import SCHEMA_SERVES, get_setting
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


@pytest.fixture
def next_release(tmp_path: Path) -> Path:
    """The migrations of a later version, which adds a column that this one need not know."""
    folder = tmp_path / "migrations"
    shutil.copytree(migrations.MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "9000_later.py").write_text(LATER.format(previous=migrations._revisions()[0]))
    return folder


LATER = """
import sqlalchemy as sa
from alembic import op

revision = "9000"
down_revision = "{previous}"
serves_previous = True


def upgrade() -> None:
    op.add_column("tag", sa.Column("later", sa.Text(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("tag") as batch:
        batch.drop_column("later")
"""


def test_this_version_works_beside_and_after_a_later_one_that_only_adds(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old, new, old: the way forth and back of an upgrade, node by node."""
    upgrade(empty_url)
    with monkeypatch.context() as later:
        later.setattr(migrations, "MIGRATIONS", next_release)
        upgrade(empty_url)
        check_schema(empty_url)
    assert schema_version(empty_url) == "9000"
    check_schema(empty_url)
    upgrade(empty_url)  # what `serve` does at each start: nothing, and the later schema stays
    assert schema_version(empty_url) == "9000"


def test_this_version_refuses_a_later_one_that_takes_away(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = next_release / "versions" / "9000_later.py"
    script.write_text(script.read_text().replace("serves_previous = True", ""))
    upgrade(empty_url)
    with monkeypatch.context() as later:
        later.setattr(migrations, "MIGRATIONS", next_release)
        upgrade(empty_url)
    for refused in (upgrade, check_schema):
        with pytest.raises(SchemaMismatch, match="newer version"):
            refused(empty_url)


def test_an_upgrade_over_several_versions_serves_as_far_as_all_of_them_only_add(empty_url: str) -> None:
    upgrade(empty_url, "0003")
    assert on(empty_url, lambda c: get_setting(c, SCHEMA_SERVES)) == "0002"  # 0002 itself changed too much
