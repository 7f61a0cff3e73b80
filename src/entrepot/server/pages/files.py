"""The files of an image in the browser: folders, files, downloads.

What is in a file is never part of our origin: text is shown as text, PNG, JPEG, GIF and WebP as pictures,
and everything else leaves as an attachment into a sandbox.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

from litestar import Response
from litestar.response import Stream

from entrepot.oci.digest import Digest
from entrepot.server.access.decision.model import Action
from entrepot.server.control.contents import (
    MAX_LISTED,
    Contents,
    FileRow,
    find_file,
    list_files,
    open_contents,
    read_file,
    read_tar,
)
from entrepot.server.pages.images import contents_of, digest_of, shown_image
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.file_view import MAX_TEXT_BYTES, asked_path, crumbs, file_text
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import PageVisit
from entrepot.server.pages.repositories import repository_head

__all__ = ["ROUTES"]

_SANDBOX: Final = {
    "Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
MAX_PICTURE: Final = 32 << 20
"""Bytes of a picture that is shown in its page."""


@page("/repositories/{repository:str}/-/tags/{tag:str}/files", Action.PULL)
async def of_tag(visit: PageVisit, repository: str, tag: str) -> Response[Any]:
    """To the image that the tag is now, by its digest: a link to that stays right."""
    shown = await shown_image(visit, repository, await digest_of(visit, repository, tag))
    found, _why = await contents_of(visit, repository, shown)
    digest = found.digest if found else shown.image.digest if shown.image else shown.top.digest
    path = b"/" + b"/".join(_asked(visit))
    return visit.go(addresses.repository(repository, "manifests", digest, "files", path=path))


@page("/repositories/{repository:str}/-/manifests/{digest:str}/files", Action.PULL)
async def of_digest(visit: PageVisit, repository: str, digest: str) -> Response[Any]:
    """A folder, or a file."""
    head = await repository_head(visit, repository, "tags")
    found = await _opened(visit, repository, digest)
    asked = _asked(visit)
    row = await find_file(found, asked) if asked else None
    context: dict[str, Any] = {
        "head": head,
        "digest": found.digest,
        "crumbs": crumbs(row.row.path if row else ()),
        "here": b"/" + b"/".join(row.row.path) if row else b"/",
        "row": row,
        "layers": found.layers,
    }
    if row is None or row.is_directory:
        return await _folder(visit, found, row, context)
    text = file_text(await _beginning(visit, found, row), row.row.size) if row.is_file else None
    is_seen = text is not None and text.picture is not None and row.row.size <= MAX_PICTURE
    return visit.render("file.html", text=text, is_seen=is_seen, **context)


async def _folder(
    visit: PageVisit, found: Contents, row: FileRow | None, context: dict[str, Any]
) -> Response[Any]:
    deep, by_size = visit.query("view") == "all", visit.query("order") == "size"
    hidden = visit.query("removed") != "no"
    after = _asked(visit, "after")
    rows = await list_files(
        found,
        row.row.path if row else (),
        deep=deep,
        by_size=by_size,
        hidden=hidden,
        after=after,
        n=MAX_LISTED + 1,
    )
    return visit.render(
        "files.html",
        rows=rows[:MAX_LISTED],
        more=b"/" + b"/".join(rows[MAX_LISTED - 1].row.path) if len(rows) > MAX_LISTED else b"",
        deep=deep,
        by_size=by_size,
        hidden=hidden,
        total=row.row.size if row else found.view.head.size,
        count=row.row.files if row else found.view.head.files,
        **context,
    )


@page("/repositories/{repository:str}/-/manifests/{digest:str}/raw", Action.PULL)
async def raw(visit: PageVisit, repository: str, digest: str) -> Response[Any]:
    """A file's bytes. A picture may be shown; all else is an attachment."""
    found = await _opened(visit, repository, digest)
    row = await find_file(found, _asked(visit))
    if not row.is_file:
        return visit.go(addresses.repository(repository, "manifests", digest, "files"))
    content = read_file(visit.services, found, row)
    first = await anext(content, b"")
    picture = file_text(first[:4096], row.row.size).picture
    inline = picture is not None and visit.query("show") == "picture"
    headers = {
        **_SANDBOX,
        # Here: a route's own type would stand before that of a stream.
        "Content-Type": picture if inline and picture else "application/octet-stream",
        "Content-Length": str(row.row.size),
        "Content-Disposition": "inline" if inline else _attachment(row.row.path[-1]),
    }
    return Stream(_resumed(first, content), headers=headers)


@page("/repositories/{repository:str}/-/manifests/{digest:str}/tar", Action.PULL)
async def tar(visit: PageVisit, repository: str, digest: str) -> Response[Any]:
    """A folder with all below it."""
    found = await _opened(visit, repository, digest)
    asked = _asked(visit)
    folder = (await find_file(found, asked)).row.path if asked else ()
    content = read_tar(visit.services, found, folder)
    first = await anext(content, b"")
    name = (folder[-1] if folder else repository.rpartition("/")[2].encode()) + b".tar"
    headers = {
        **_SANDBOX,
        "Content-Type": "application/x-tar",
        "Content-Disposition": _attachment(name),
    }
    return Stream(_resumed(first, content), headers=headers)


async def _opened(visit: PageVisit, repository: str, digest: str) -> Contents:
    return await open_contents(visit.services, visit.caller, repository, str(Digest.parse(digest)))


def _asked(visit: PageVisit, name: str = "path") -> tuple[bytes, ...]:
    return asked_path(visit.request.scope["query_string"], name)


async def _beginning(visit: PageVisit, found: Contents, row: FileRow) -> bytes:
    pieces, size = [], 0
    async with aclosing(read_file(visit.services, found, row)) as content:
        async for piece in content:
            pieces.append(piece)
            size += len(piece)
            if size >= MAX_TEXT_BYTES:
                break
    return b"".join(pieces)[:MAX_TEXT_BYTES]


async def _resumed(first: bytes, content: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    async with aclosing(content) as rest:
        yield first
        async for piece in rest:
            yield piece


def _attachment(name: bytes) -> str:
    """RFC 6266; a name for programs that read no UTF-8 besides."""
    plain = re.sub(rb"[^A-Za-z0-9._-]", b"_", name[:200]).decode("ascii")
    return f"attachment; filename=\"{plain or 'file'}\"; filename*=UTF-8''{quote(name[:1000])}"


ROUTES = [of_tag, of_digest, raw, tar]
