"""The registry of the management tests, with pages."""

from tests.unit.server.management.conftest import registry, team

__all__ = ["registry", "team"]
