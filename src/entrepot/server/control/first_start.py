"""What accounts need before anything can be done with them."""

from __future__ import annotations

from entrepot.server.access.directory.first_start import prepare_tables
from entrepot.server.control.queries import lists
from entrepot.server.control.services import Services

__all__ = ["nobody_signed_in", "prepare_accounts"]


async def prepare_accounts(services: Services) -> None:
    """Built-in roles and a signing key, also in a registry that has not been started yet. Safe to repeat."""
    await services.write(prepare_tables, services.seal, services.config.access.issuer, services.now)


async def nobody_signed_in(services: Services) -> bool:
    """Whether nobody ever has: then whoever looks is told how the first admin gets in. All may know."""
    return await services.read(lists.nobody_signed_in)
