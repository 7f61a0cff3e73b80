"""A new password, checked and hashed off the event loop, in either mode."""

from __future__ import annotations

import asyncio

from entrepot.server.access.secrets.passwords import check_new_password, hash_password
from entrepot.server.control.services import Services

__all__ = ["check_new_password", "hash_new_password"]


async def hash_new_password(services: Services, password: str, name: str) -> str:
    """Raises InvalidPassword, TooManyAttempts."""
    check_new_password(password, name=name)
    if services.accounts is not None:
        return await services.accounts.passwords.hash(password)
    return await asyncio.to_thread(hash_password, password)
