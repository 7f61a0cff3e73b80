"""A failure of the registry's own parts: the log has the reason, the client a sentence and the request's id.

Where the store is, and what a blob is called there, is nobody's business but the operator's. While a part is
away every request meets it, so that a line a second for each kind of failure is enough.
"""

from __future__ import annotations

import time
from typing import Final

from entrepot.errors import EntrepotError
from entrepot.observability.logs import get_log
from entrepot.server.db.errors import CatalogUnavailable
from entrepot.server.storage.errors import StorageFailed, StorageFull

__all__ = ["EVERY_S", "Outages", "told"]

log = get_log(__name__)
EVERY_S: Final = 1.0


class Outages:
    """Lines that have been written, so that they are not written too often. One for each process."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def note(self, error: EntrepotError, *, path: str, request_id: str, now: float | None = None) -> bool:
        """Whether the failure was written down; else it is counted in the next line of its kind."""
        now = time.monotonic() if now is None else now
        kind = error.code
        if now < self._next.get(kind, now):
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return False
        self._next[kind] = now + EVERY_S
        log.error(
            "store failed" if isinstance(error, StorageFailed) else "catalog unavailable",
            kind=kind,
            reason=error.message,
            hint=error.operator_hint or error.hint or "",
            path=path,
            request_id=request_id,
            others=self._unsaid.pop(kind, 0),
        )
        return True


_outages: Final = Outages()


def told(error: EntrepotError, *, path: str, request_id: str, outages: Outages = _outages) -> EntrepotError:
    """What a client may know of an error; what it may not is in the log."""
    if not isinstance(error, StorageFailed | CatalogUnavailable):
        return error
    outages.note(error, path=path, request_id=request_id)
    if isinstance(error, CatalogUnavailable):
        return error  # it says nothing of places; see db.refusals
    request = f" (request {request_id})" if request_id else ""
    if isinstance(error, StorageFull):
        return StorageFull(
            f"the registry has no room for more now; try again later{request}",
            retry_after_s=error.retry_after_s,
        )
    return StorageFailed(
        f"the registry's store can't be used now; try again soon{request}", retry_after_s=error.retry_after_s
    )
