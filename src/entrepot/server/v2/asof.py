"""`GET /v2/<name>/manifests/<tag>?at=<RFC 3339>`: what a tag was at a time.

What was overwritten or deleted is kept for the undo window; a 404 names it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.oci.reference import TagName
from entrepot.server.repos.errors import ManifestUnknown
from entrepot.server.repos.manifests import StoredManifest
from entrepot.server.v2.context import V2Context

__all__ = ["NotThen", "at_time", "parse_time"]


class NotThen(ManifestUnknown):
    """The tag was nothing at that time, or what it was has been collected."""

    code: ClassVar[str] = "not-then"

    def __init__(self, repository: str, tag: str, text: str, days: float) -> None:
        super().__init__(repository, tag)
        self.message = (
            f"{repository}:{tag} was nothing at {text}, or what it was is no longer kept; "
            f"what was overwritten or deleted is kept for {days:g} days"
        )


def parse_time(text: str) -> int:
    """Microseconds since 1970; a time without a zone is UTC. Raises InvalidInput."""
    try:
        when = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        raise InvalidInput(
            f"at={text[:64]!r} is no time", hint="write it as 2026-10-01 or 2026-10-01T12:00:00Z"
        ) from None
    return round((when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp() * 1_000_000)


async def at_time(context: V2Context, repository: str, wanted: TagName | Digest, text: str) -> StoredManifest:
    """The manifest a tag pointed to. Raises InvalidInput, NotFound with the window in words."""
    if isinstance(wanted, Digest):
        raise InvalidInput("at= asks about a tag; a digest is the same at any time")
    moment = parse_time(text)
    found = await context.history.manifest_at(repository, wanted, moment) if context.history else None
    if found is None:
        raise NotThen(repository, wanted, text[:64], context.config.gc.undo_window / 86400)
    return found
