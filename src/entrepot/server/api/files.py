"""`/repositories/…/manifests/{digest}/files`: the files of an image, as pages show them."""

from __future__ import annotations

from typing import Any

from litestar import Request, Response
from litestar.params import Parameter

from entrepot.errors import InvalidInput
from entrepot.inventory.files.shown import parse_shown
from entrepot.oci.digest import Digest
from entrepot.server.access.decision.model import Action
from entrepot.server.api.paging import DEFAULT_N, N, Page, paged
from entrepot.server.api.route import get
from entrepot.server.api.schemas import FilesSummary, FileView
from entrepot.server.control import contents
from entrepot.server.control.contents import FileRow
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller

__all__ = ["ROUTES"]


@get(
    "/repositories/{repository:str}/manifests/{digest:str}/files",
    Action.PULL,
    "List the files of an image",
    tags=["files"],
)
async def files(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    repository: str,
    digest: str,
    path: str = Parameter(query="path", default="/", max_length=4096),
    deep: bool = Parameter(query="deep", default=False, description="All below the folder."),
    removed: bool = Parameter(query="removed", default=False, description="What later layers removed, too."),
    n: N = DEFAULT_N,
    last: str = Parameter(
        query="last", default="", max_length=8192, description="A `path_hex` to go on after."
    ),
) -> Response[Page[FileView]]:
    """Of a folder, by name; `deep` goes folder by folder. 404 until the image has been looked into."""
    found = await contents.open_contents(services, caller, repository, str(Digest.parse(digest)))
    rows = await contents.list_files(
        found, parse_shown(path), deep=deep, hidden=removed, after=_key(last), n=n + 1
    )
    return paged(request, [_view(row) for row in rows], n, lambda view: view.path_hex)


@get(
    "/repositories/{repository:str}/manifests/{digest:str}/files-summary",
    Action.PULL,
    "Sum up the files of an image",
    tags=["files"],
)
async def summary(services: Services, caller: Caller, repository: str, digest: str) -> FilesSummary:
    """Sizes, and what is wasted. 404 until the image has been looked into."""
    found = await contents.open_contents(services, caller, repository, str(Digest.parse(digest)))
    head = found.view.head
    return FilesSummary(head.size, head.files, head.layer_sizes, head.wasted_bytes, head.efficiency)


def _key(last: str) -> tuple[bytes, ...]:
    try:
        name = bytes.fromhex(last)
    except ValueError:
        raise InvalidInput("last is not a path_hex of an earlier answer") from None
    return tuple(part for part in name.split(b"/") if part)


def _view(found: FileRow) -> FileView:
    row = found.row
    return FileView(
        path=found.path,
        path_hex=found.address.hex(),
        kind=found.kind,
        mode=found.mode,
        uid=row.uid,
        gid=row.gid,
        size=row.size,
        modified=row.mtime_ns // 1_000_000_000,
        link=found.link,
        sha256=row.sha256.hex() or None,
        layer=row.layer + 1,
        brought_by=row.brought + 1,
        hidden_by=found.hidden_by,
    )


ROUTES = [files, summary]
