"""Fixtures of the catalog's own tests."""

from tests.contract.db.catalogs import sqlite_template, sqlite_url  # noqa: F401 - fixtures
