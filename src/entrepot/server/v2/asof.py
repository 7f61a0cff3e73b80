"""`GET /v2/<name>/manifests/<reference>?at=<RFC 3339>`: what a tag was at a time.

What was overwritten or deleted is kept for the undo window; a 404 names it. A digest is asked for by clients
that follow what a tag was: an index's images may have been deleted since.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import ClassVar, Final

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.oci.distribution import AS_OF
from entrepot.oci.reference import TagName
from entrepot.server.repos.errors import ManifestUnknown
from entrepot.server.repos.manifests import StoredManifest
from entrepot.server.v2.context import V2Context

__all__ = ["NotThen", "at_time", "header", "parse_time"]

_AS_OF: Final = AS_OF.lower().encode()


class NotThen(ManifestUnknown):
    """The tag was nothing at that time, or what it was has been collected."""

    code: ClassVar[str] = "not-then"

    def __init__(self, repository: str, tag: TagName | Digest, text: str, days: float) -> None:
        super().__init__(repository, tag)
        name = f"{repository}@{tag}" if isinstance(tag, Digest) else f"{repository}:{tag}"
        self.message = (
            f"{name} was nothing at {text}, or what it was is no longer kept; "
            f"what was overwritten or deleted is kept for {days:g} days"
        )


def parse_time(text: str) -> int:
    """Microseconds since 1970; a time without a zone is UTC. Raises InvalidInput."""
    try:
        when = _parse(text)
        when = (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):  # a zone may lead out of the years there are
        raise InvalidInput(
            f"at={text[:64]!r} is no time", hint="write it as 2026-10-01 or 2026-10-01T12:00:00Z"
        ) from None
    return round(when.timestamp() * 1_000_000)


def _parse(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return datetime.fromisoformat(text.replace(" ", "+"))  # a zone's + that nobody encoded


async def at_time(context: V2Context, repository: str, wanted: TagName | Digest, text: str) -> StoredManifest:
    """What a tag pointed to, or a manifest that was there. Raises InvalidInput, NotFound with the window in
    words."""
    moment = parse_time(text)
    found = await context.services.history.manifest_at(repository, wanted, moment)
    if found is None:
        raise NotThen(repository, wanted, text[:64], context.services.config.gc.undo_window / 86400)
    return found


def header(text: str) -> tuple[bytes, bytes]:
    """Tells a client that its `at=` was understood: other registries answer with what is there now."""
    moment = datetime.fromtimestamp(parse_time(text) / 1_000_000, UTC)
    return _AS_OF, moment.isoformat().replace("+00:00", "Z").encode()
