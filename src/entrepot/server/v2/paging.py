"""`n` and `last` of every list: keyset pages, clamped, never refused for being too large.

distribution-spec, "Listing Tags": `n=0` is an empty list without a Link; `last` need not exist any more.
"""

from __future__ import annotations

import re
from typing import ClassVar

from entrepot.errors import InvalidInput
from entrepot.oci.distribution import link_next
from entrepot.server.http.request import HttpRequest

DEFAULT_PAGE = 1_000
MAX_LAST_LENGTH = 4096


class PageSizeInvalid(InvalidInput):
    """`n` is no count."""

    code: ClassVar[str] = "page-size-invalid"


def page_of(request: HttpRequest, *, most: int) -> tuple[int, str | None]:
    """(entries wanted, name after which they start). Raises PageSizeInvalid, InvalidInput."""
    if not request.query_string:
        return min(DEFAULT_PAGE, most), None
    count = request.parameter("n")
    last = request.parameter("last")
    if last is not None and len(last) > MAX_LAST_LENGTH:
        raise InvalidInput(f"last is longer than {MAX_LAST_LENGTH} characters; it is the last name of a page")
    if count is None:
        return min(DEFAULT_PAGE, most), last or None
    if not re.fullmatch(r"[0-9]{1,40}", count):
        raise PageSizeInvalid(f"n is {count[:40]!r}; it is a whole number of entries, 0 or more")
    return min(int(count), most), last or None


def next_link(path: str, *, n: int, last: str, **more: str) -> tuple[bytes, bytes]:
    return b"link", link_next(path, {**more, "n": n, "last": last}).encode("latin-1")
