"""Whose copy a place holds: a mark beside it, with the id that catalog and store carry.

A machine that was made anew and started before its catalog was restored would else copy an empty catalog over
the one that is to come back.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any, ClassVar, Final
from urllib.parse import unquote, urlsplit

from entrepot.errors import Conflict
from entrepot.server.backup.errors import BackupMissing
from entrepot.server.backup.places import open_place
from entrepot.server.config.model import Config

__all__ = ["CopyOfAnother", "claim_copy"]

MARK: Final = "registry.json"


class CopyOfAnother(Conflict):
    """The place holds the copy of another registry's catalog, or of this one's before it was made anew."""

    code: ClassVar[str] = "copy-of-another"


async def claim_copy(place: str, config: Config, store_id: str) -> None:
    """Mark the place as this registry's. Raises CopyOfAnother, PlaceFailed."""
    parts, storage = urlsplit(place), config.storage
    where = unquote(parts.path) if parts.scheme == "file" else place
    opened = open_place(
        where,
        create=True,
        endpoint=storage.endpoint,
        region=storage.region,
        access_key_id=storage.access_key_id,
        secret_access_key=str(storage.secret_access_key),
        allow_http=storage.allow_http,
    )
    try:
        try:
            raw = b"".join([piece async for piece in opened.get(MARK)])
        except BackupMissing:
            data = json.dumps({"store_id": store_id}).encode()
            await opened.put(MARK, _once(data), len(data))
            return
    finally:
        await opened.close()
    if _owner(raw) != store_id:
        raise CopyOfAnother(
            f"{place} holds the catalog of another registry, and is not written to",
            hint=f"bring it back with: entrepot admin restore --from-copy {place}; or name another place",
        )


def _owner(raw: bytes) -> str:
    try:
        said: Any = json.loads(raw)
        return str(said["store_id"])
    except (ValueError, KeyError, TypeError):
        return ""


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
