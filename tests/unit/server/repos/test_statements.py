"""Statements that run for every pull and push use an index for every table they touch."""

import importlib
import pkgutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from entrepot.server import repos
from entrepot.server.db.statements import HotQuery, Prepared
from tests.contract.db.catalogs import sqlite_template  # noqa: F401 - a fixture


def statements() -> Iterator[tuple[str, HotQuery | Prepared]]:
    for module in pkgutil.iter_modules(repos.__path__):
        held = vars(importlib.import_module(f"entrepot.server.repos.{module.name}"))
        for name, value in sorted(held.items()):
            for key, one in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(one, HotQuery | Prepared):
                    yield f"{module.name}{name}{key}", one


def test_no_statement_reads_a_whole_table(sqlite_template: Path) -> None:  # noqa: F811
    database = sqlite3.connect(sqlite_template)
    scans = []
    for name, statement in statements():
        compiled = statement.sqlite
        values = ["[]" if "digests" in parameter else 1 for parameter in compiled.names]
        plan = [row[3] for row in database.execute(f"explain query plan {compiled.sql}", values)]
        scans += [(name, step) for step in plan if "SCAN" in step and "json_each" not in step]
        scans += [(name, step) for step in plan if "TEMP B-TREE" in step]
    database.close()
    assert scans == []
    assert len(list(statements())) > 30


@pytest.mark.parametrize("driver", ["sqlite", "postgresql"])
def test_statements_compile_for_both_drivers(driver: str) -> None:
    for name, statement in statements():
        compiled = getattr(statement, driver)
        assert compiled.sql, name
        assert not any(parameter.startswith("__") for parameter in compiled.names), name
