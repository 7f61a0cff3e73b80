"""The schema that migrations make, on both databases."""

import re
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, text

from entrepot.server.db import check_schema, upgrade
from entrepot.server.db import migrate as migrations
from entrepot.server.db.errors import SchemaMismatch
from entrepot.server.db.location import parse_catalog_url
from entrepot.server.db.migrate import downgrade, schema_version
from entrepot.server.db.settings import SCHEMA_SERVES, get_setting
from entrepot.server.db.tables import metadata
from entrepot.server.db.writerlock import WriterLock
from entrepot.server.events import sequencer
from entrepot.server.upkeep.collection import totals
from entrepot.server.upkeep.integrity import lost_blobs, scrub


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


def test_a_start_reads_nothing_but_the_schema_and_waits_for_nobody(tmp_path: Path) -> None:
    """B5: a page that is damaged elsewhere, or a writer at work, keeps no server from starting."""
    path = tmp_path / "catalog.db"
    url = f"sqlite:///{path}"
    upgrade(url)
    with closing(sqlite3.connect(path)) as database:
        database.execute("pragma wal_checkpoint(truncate)")
        roots = database.execute(
            "select rootpage from sqlite_master where name in ('manifest_ref', 'repo_blob', 'tag')"
        ).fetchall()
        (size,) = database.execute("pragma page_size").fetchone()
    with path.open("r+b") as file:
        for (page,) in roots:
            file.seek((page - 1) * size)
            file.write(b"\xff" * 64)
    lock = WriterLock(path)
    try:
        with lock.held():
            upgrade(url)
            check_schema(url)
            assert schema_version(url) is not None
    finally:
        lock.close()


def test_a_newer_schema_is_refused_in_words(empty_url: str) -> None:
    """C4: an old program never touches what a newer one has made."""
    upgrade(empty_url)
    on(empty_url, lambda c: c.execute(text("update alembic_version set version_num = '9999'")))
    for refused in (upgrade, check_schema):
        with pytest.raises(SchemaMismatch, match="newer version"):
            refused(empty_url)
    assert schema_version(empty_url) == "9999"


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


def test_an_older_schema_is_refused_until_it_is_migrated(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(empty_url)
    monkeypatch.setattr(migrations, "MIGRATIONS", next_release)
    with pytest.raises(SchemaMismatch, match="needs"):
        check_schema(empty_url)
    upgrade(empty_url)
    check_schema(empty_url)


def test_a_migration_that_fails_leaves_the_old_schema(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C4: a migration is one transaction."""
    upgrade(empty_url)
    known = schema_version(empty_url)
    real = migrations._upgrade

    def half(connection: Connection, revision: str) -> None:
        real(connection, revision)
        raise OSError("the machine stopped here")

    monkeypatch.setattr(migrations, "MIGRATIONS", next_release)
    monkeypatch.setattr(migrations, "_upgrade", half)
    with pytest.raises(OSError, match="stopped"):
        upgrade(empty_url)
    assert schema_version(empty_url) == known


def test_rows_stay_on_the_way_to_a_later_schema_and_back(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Old, new, old, with a table that SQLite makes anew to take a column away."""
    upgrade(empty_url)
    known = str(schema_version(empty_url))
    monkeypatch.setattr(migrations, "MIGRATIONS", next_release)
    on(empty_url, lambda c: [c.execute(text(sql)) for sql in TAGGED.split(";")])
    for step in (upgrade, lambda url: downgrade(url, known), upgrade):
        step(empty_url)
        found = on(empty_url, lambda c: c.execute(text("select name, digest from tag")).fetchall())
        assert found == [("latest", "sha256:aa")]
    assert on(empty_url, lambda c: get_setting(c, SCHEMA_SERVES)) == known


TAGGED = """
insert into project (id, name, created_at) values (1, 'team', 1);
insert into repo (id, project_id, name, created_at) values (1, 1, 'team/app', 1);
insert into manifest (repo_id, digest, media_type, size, total_size, pushed_at, pushed_by, body)
values (1, 'sha256:aa', 'm', 0, 0, 1, 'a', '');
insert into tag (repo_id, name, digest, created_at, updated_at, updated_by)
values (1, 'latest', 'sha256:aa', 1, 1, 'a')
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


def test_an_upgrade_over_several_versions_serves_as_far_as_all_of_them_only_add(
    empty_url: str, next_release: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions, previous = next_release / "versions", "9000"
    for revision, serves in (("9001", "False"), ("9002", "True"), ("9003", "True")):
        step = f'revision = "{revision}"\ndown_revision = "{previous}"\nserves_previous = {serves}\n'
        (versions / f"{revision}_more.py").write_text(step + EMPTY)
        previous = revision
    monkeypatch.setattr(migrations, "MIGRATIONS", next_release)
    upgrade(empty_url)
    assert on(empty_url, lambda c: get_setting(c, SCHEMA_SERVES)) == "9002 9001"  # 9001 changed too much


EMPTY = """
def upgrade() -> None: ...
def downgrade() -> None: ...
"""

IN_ORDER = r"^(?!.*(Sort|TEMP B-TREE)).*(pk_blob|autoindex_blob_1)"


def plans(url: str, work: Callable[[Connection], object]) -> str:
    """How the database carries out what `work` executes; without its habit of reading small tables whole."""

    def explain(connection: Connection) -> str:
        seen: list[tuple[str, Any]] = []

        def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
            seen.append((statement, parameters))

        if connection.dialect.name == "postgresql":
            for habit in ("seqscan", "bitmapscan"):
                connection.execute(text(f"set local enable_{habit} = off"))
        event.listen(connection, "before_cursor_execute", note)
        work(connection)
        event.remove(connection, "before_cursor_execute", note)
        how = "EXPLAIN " if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN "
        rows = [row for sql, values in seen for row in connection.exec_driver_sql(how + sql, values)]
        return "\n".join(str(column) for row in rows for column in row)

    return str(on(url, explain))


@pytest.mark.parametrize(
    ("work", "index"),
    [
        pytest.param(lambda c: lost_blobs._lost(c, None, 10), "ix_blob_out_of_service", id="lost blobs"),
        pytest.param(lambda c: lost_blobs._lost(c, "sha256:aa", 1), r"\brepo_blob", id="a lost blob"),
        pytest.param(totals.out_of_service, "ix_blob_out_of_service", id="how many are lost"),
        pytest.param(sequencer._has_new, "ix_event_new", id="events to number"),
        pytest.param(lambda c: scrub._page(c, "sha256:b"), IN_ORDER, id="scrub"),
    ],
)
def test_background_work_finds_its_rows_by_an_index(
    empty_url: str, work: Callable[[Connection], object], index: str
) -> None:
    """At millions of rows as at ten."""
    upgrade(empty_url)
    plan = plans(empty_url, work)
    assert re.search(index, plan, re.DOTALL), plan
    assert not re.search(r"SCAN (blob|event)\b(?! USING)|Seq Scan", plan), plan


def test_a_push_pays_for_no_index_of_what_it_does_not_set(empty_url: str) -> None:
    upgrade(empty_url)

    def definitions(connection: Connection) -> list[str]:
        known = "select sql, tbl_name from sqlite_master where type = 'index'"
        if connection.dialect.name == "postgresql":
            known = "select indexdef, tablename from pg_indexes"
        rows = connection.execute(text(known))
        return [str(sql) for sql, table in rows if table in {"audit", "event", "blob"}]

    found = on(empty_url, definitions)
    assert isinstance(found, list)
    for column in ("sealed_no", "number", "state"):
        about = [sql for sql in found if column in sql]
        assert about, found
        assert all("WHERE" in sql for sql in about), found
