"""What accounts need before anything can be done with them."""

from __future__ import annotations

from entrepot.server.access.directory.first_start import prepare_tables
from entrepot.server.control.services import Services

__all__ = ["prepare_accounts"]


async def prepare_accounts(services: Services) -> None:
    """Built-in roles and a signing key, also in a registry that has not been started yet. Safe to repeat."""
    await services.write(prepare_tables, services.seal, services.config.access.issuer, services.now)
