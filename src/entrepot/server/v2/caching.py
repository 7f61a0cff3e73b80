"""What caches on the way may keep.

What was answered to somebody who showed who they are may be for them alone, so no shared cache keeps it.
(RFC 9111 3.5 forbids that already for requests with Authorization; not every cache is told of those.)
Whatever nobody in particular got is anybody's.
"""

from __future__ import annotations

from typing import Final

from entrepot.server.access.decision.model import Principal, PrincipalKind

__all__ = ["forever", "only_when_asked_again"]

_ANYBODY: Final = frozenset({PrincipalKind.ANONYMOUS, PrincipalKind.OPEN})
_FOREVER: Final = {
    True: (b"cache-control", b"max-age=31536000, immutable"),
    False: (b"cache-control", b"private, max-age=31536000, immutable"),
}
_NO_CACHE: Final = {
    True: (b"cache-control", b"no-cache"),
    False: (b"cache-control", b"private, no-cache"),
}


def forever(who: Principal) -> tuple[bytes, bytes]:
    """Of bytes that go by their digest."""
    return _FOREVER[who.kind in _ANYBODY]


def only_when_asked_again(who: Principal) -> tuple[bytes, bytes]:
    """Of everything that may be another thing, or gone, the next moment."""
    return _NO_CACHE[who.kind in _ANYBODY]
