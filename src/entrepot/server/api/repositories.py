"""`/repositories`: repositories, tags with their history, manifests, sizes; `/search`, `/labels`, `/undo`.

A repository's name is one path segment here: its slashes are written `%2F`.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, cast

import msgspec
from litestar import Request, Response
from litestar.params import Parameter
from sqlalchemy import Connection

from entrepot.errors import InvalidInput, NotFound
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_tag
from entrepot.server.access.decision.errors import AccessDenied
from entrepot.server.access.decision.model import Action, PrincipalKind, Resource
from entrepot.server.access.decision.patterns import Visible
from entrepot.server.api.headers import etag, expected_number
from entrepot.server.api.paging import DEFAULT_N, Last, LastNumber, N, Page, paged
from entrepot.server.api.route import delete, get, patch, post, put
from entrepot.server.api.schemas import (
    LabelCount,
    LayerView,
    ManifestDetail,
    ManifestView,
    PlatformView,
    ReferrerView,
    RepositoryChange,
    RepositoryDetail,
    RepositoryView,
    RestoreTag,
    SearchResult,
    TagDetail,
    TagEventView,
    TagView,
    UndoableView,
    at,
    microseconds,
)
from entrepot.server.api.views import repository_fields, repository_view, tag_fields, tag_view
from entrepot.server.control.content_queries import (
    ManifestRow,
    RepositoryRow,
    TagRow,
    count_labels,
    get_manifest_row,
    get_repository,
    get_tag,
    list_manifests,
    list_referrers,
    list_repositories,
    list_tags,
    platforms_of,
    repository_sizes,
    tag_sizes,
    tags_on,
)
from entrepot.server.control.content_queries import search as find
from entrepot.server.control.foreign import apart
from entrepot.server.control.images import image_config, layers_of
from entrepot.server.control.profiles import change_profile, get_profile, is_starred, set_star
from entrepot.server.control.services import Services
from entrepot.server.control.tombstones import delete_repository, list_undoable, restore_repository
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import Asked
from entrepot.server.storage.errors import BlobMissing

__all__ = ["ROUTES"]

README_BYTES: Final = 1280 * 1024
"""Of a change: JSON may write each of a README's 100,000 characters in twelve bytes."""


@get("/repositories", Action.SEARCH, "List repositories", tags=["repositories"])
async def list_(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    n: N = DEFAULT_N,
    last: Last = "",
    project: str | None = Parameter(query="project", default=None, max_length=255),
    label: str | None = Parameter(query="label", default=None, max_length=64),
) -> Response[Page[RepositoryView]]:
    """Those the caller may see."""
    visible = await services.visible(caller)
    found = await services.read(
        lambda c: list_repositories(c, visible, last=last, n=n + 1, project_name=project, label=label)
    )
    return paged(request, [repository_view(row) for row in found], n, lambda view: view.name)


def _detail(connection: Connection, name: str, principal_id: int, visible: Visible) -> RepositoryDetail:
    row = get_repository(connection, name)
    description, readme, version = get_profile(connection, row.id)
    size, shared = repository_sizes(connection, row.id, visible)
    return RepositoryDetail(
        **{**repository_fields(row), "description": description},
        readme=readme,
        size_bytes=size,
        shared_bytes=shared,
        starred=is_starred(connection, row.id, principal_id),
        version=version,
    )


@get("/repositories/{repository:str}", Action.READ, "Show a repository", tags=["repositories"])
async def show(services: Services, caller: Caller, repository: str) -> Response[RepositoryDetail]:
    found = await services.read(_detail, repository, caller.principal.id, await services.visible(caller))
    return Response(found, headers=etag(found.version))


@patch(
    "/repositories/{repository:str}",
    Action.EDIT_REPOSITORY,
    "Change description, README, labels",
    tags=["repositories"],
    request_max_body_size=README_BYTES,
)
async def change(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    repository: str,
    data: RepositoryChange,
) -> Response[RepositoryDetail]:
    """Honours If-Match."""
    given = {key: value for key, value in msgspec.structs.asdict(data).items() if value is not msgspec.UNSET}
    version, visible = expected_number(request), await services.visible(caller)

    def write(connection: Connection) -> RepositoryDetail:
        row = get_repository(connection, repository)
        change_profile(
            connection, caller, row.id, row.name, now=services.now, expected_version=version, **given
        )
        return _detail(connection, repository, caller.principal.id, visible)

    found = await services.write(write)
    return Response(found, headers=etag(found.version))


@delete(
    "/repositories/{repository:str}", Action.DELETE_REPOSITORY, "Delete a repository", tags=["repositories"]
)
async def remove(services: Services, caller: Caller, repository: str) -> None:
    """With its tags and manifests. It can be restored until the undo window ends."""
    clock = services.catalog.clock
    await services.write(
        delete_repository, repository, caller, services.permit(caller), clock.now(), clock.steady()
    )


@post(
    "/repositories/{repository:str}/restore",
    Action.RESTORE,
    "Bring back a deleted repository",
    tags=["repositories"],
    status_code=200,
)
async def restore(services: Services, caller: Caller, repository: str) -> RepositoryDetail:
    await services.write(restore_repository, repository, caller, services.permit(caller), services.now)
    return await services.read(_detail, repository, caller.principal.id, await services.visible(caller))


@put(
    "/repositories/{repository:str}/star",
    Action.READ,
    "Star a repository",
    tags=["repositories"],
    status_code=204,
)
async def add_star(services: Services, caller: Caller, repository: str) -> None:
    await _star(services, caller, repository, starred=True)


@delete("/repositories/{repository:str}/star", Action.READ, "Take a star back", tags=["repositories"])
async def remove_star(services: Services, caller: Caller, repository: str) -> None:
    await _star(services, caller, repository, starred=False)


async def _star(services: Services, caller: Caller, repository: str, *, starred: bool) -> None:
    await services.require(caller, Action.MANAGE_SELF, Resource())  # it is their account that it changes
    if caller.principal.kind is not PrincipalKind.USER:
        raise AccessDenied("stars are for users")

    def write(connection: Connection) -> None:
        row = get_repository(connection, repository)
        set_star(connection, row.id, caller.principal.id, starred=starred, now=services.now)

    await services.write(write)


# --- tags


@get("/repositories/{repository:str}/tags", Action.READ, "List tags", tags=["tags"])
async def tags_of(
    services: Services,
    request: Request[Any, Any, Any],
    repository: str,
    n: N = DEFAULT_N,
    last: Last = "",
    contains: str = Parameter(query="contains", default="", max_length=128),
) -> Response[Page[TagView]]:
    def read(connection: Connection) -> list[TagRow]:
        row = get_repository(connection, repository)
        return list_tags(connection, row.id, last=last, n=n + 1, contains=contains)

    return paged(request, [tag_view(t) for t in await services.read(read)], n, lambda view: view.name)


@get("/repositories/{repository:str}/tags/{tag:str}", Action.READ, "Show a tag", tags=["tags"])
async def show_tag(services: Services, caller: Caller, repository: str, tag: str) -> TagDetail:
    """With what is its own and what it shares with others that the caller may see."""
    visible = await services.visible(caller)

    def read(connection: Connection) -> TagDetail:
        row = get_repository(connection, repository)
        found = get_tag(connection, row.id, tag)
        unique, shared = tag_sizes(connection, row.id, found.digest, visible)
        if len(tags_on(connection, row.id, [found.digest]).get(found.digest, [])) > 1:
            unique, shared = 0, unique + shared  # another tag keeps all of it
        return TagDetail(**tag_fields(found), unique_bytes=unique, shared_bytes=shared)

    return await services.read(read)


@delete("/repositories/{repository:str}/tags/{tag:str}", Action.DELETE_TAG, "Delete a tag", tags=["tags"])
async def remove_tag(services: Services, caller: Caller, repository: str, tag: str) -> None:
    """Its manifest stays; the tag can be restored."""
    await services.manifests.delete_tag(
        repository, parse_tag(tag), actor=caller, permit=services.permit(caller)
    )


@get(
    "/repositories/{repository:str}/tags/{tag:str}/history",
    Action.READ,
    "Where a tag has been",
    tags=["tags"],
)
async def history_of_tag(
    services: Services,
    request: Request[Any, Any, Any],
    repository: str,
    tag: str,
    n: N = DEFAULT_N,
    last: LastNumber = 0,
) -> Response[Page[TagEventView]]:
    """Newest first."""
    events, more = await services.history.of_tag(repository, tag, before=last or None, n=n)
    views = [
        TagEventView(number=e.seq, tag=e.name, old=e.old, new=e.new, at=at(e.at), by=e.by) for e in events
    ]
    # `paged` looks for one more than asked; the service tells it by a flag instead.
    return paged(request, [*views, *views[-1:]] if more else views, n, lambda view: view.number)


@post(
    "/repositories/{repository:str}/tags/{tag:str}/restore",
    Action.RESTORE,
    "Put a tag back",
    tags=["tags"],
    status_code=200,
)
async def restore_tag(
    services: Services, caller: Caller, repository: str, tag: str, data: RestoreTag
) -> TagView:
    name = parse_tag(tag)
    digest = await _digest_to_restore(services, repository, name, data)
    await services.history.restore_tag(repository, name, digest, actor=caller, permit=services.permit(caller))
    found = await services.read(lambda c: get_tag(c, get_repository(c, repository).id, name))
    return tag_view(found)


async def _digest_to_restore(services: Services, repository: str, name: str, data: RestoreTag) -> Digest:
    if data.digest is not None:
        return Digest.parse(data.digest)
    if data.at is not None:
        found = await services.history.manifest_at(repository, name, cast("int", microseconds(data.at)))
        if found is None:
            raise NotFound(f"{repository}:{name} was nothing then, or that has been collected")
        return found.digest
    events, _more = await services.history.of_tag(repository, name, n=1)
    if not events or events[0].old is None:
        raise NotFound(f"{repository}:{name} has no earlier state")
    return Digest.parse(events[0].old)


# --- manifests


@get("/repositories/{repository:str}/manifests", Action.READ, "List manifests", tags=["manifests"])
async def manifests_of(
    services: Services,
    request: Request[Any, Any, Any],
    repository: str,
    n: N = DEFAULT_N,
    last: Last = "",
    untagged: bool = Parameter(query="untagged", default=False),
) -> Response[Page[ManifestView]]:
    def read(connection: Connection) -> list[ManifestView]:
        row = get_repository(connection, repository)
        found = list_manifests(connection, row.id, last=last, n=n + 1, untagged=untagged)
        return [ManifestView(**_manifest_fields(m, names)) for m, names in found]

    return paged(request, await services.read(read), n, lambda view: view.digest)


def _manifest_fields(row: ManifestRow, names: list[str]) -> dict[str, Any]:
    return {
        "digest": row.digest,
        "media_type": row.media_type,
        "artifact_type": row.artifact_type,
        "size_bytes": row.size,
        "total_bytes": row.total_size,
        "pushed_at": at(row.pushed_at),
        "pushed_by": row.pushed_by,
        "tags": names,
    }


@get(
    "/repositories/{repository:str}/manifests/{digest:str}",
    Action.PULL,
    "Show a manifest: layers, configuration, platforms, referrers",
    tags=["manifests"],
)
async def show_manifest(services: Services, repository: str, digest: str) -> ManifestDetail:
    """Reads content, so it needs pull."""
    wanted = str(Digest.parse(digest))

    def read(connection: Connection) -> tuple[RepositoryRow, ManifestRow, list[str], list[Any]]:
        row = get_repository(connection, repository)
        found = get_manifest_row(connection, row.id, wanted)
        names = tags_on(connection, row.id, [wanted]).get(wanted, [])
        return row, found, names, list_referrers(connection, row.id, wanted)

    row, found, names, referrers = await services.read(read)
    try:
        config = await image_config(services, row.name, found)
    except BlobMissing:
        config = None
    platforms, layers = await apart(lambda: (platforms_of(found.body), layers_of(found.body, config)))
    return ManifestDetail(
        **_manifest_fields(found, names),
        raw=found.body.decode("utf-8", "replace"),
        platforms=[
            PlatformView(digest=child, platform=platform, size_bytes=size, media_type=kind)
            for child, platform, size, kind in platforms
        ],
        layers=[
            LayerView(
                digest=layer.digest, media_type=layer.media_type, size_bytes=layer.size, command=layer.command
            )
            for layer in layers
        ],
        config_digest=found.config,
        config=config,
        referrers=[
            ReferrerView(
                digest=r.digest,
                artifact_type=r.artifact_type,
                size_bytes=r.total_size,
                annotations=json.loads(r.annotations) if r.annotations else {},  # ours: written by the push
            )
            for r in referrers
        ],
    )


@delete(
    "/repositories/{repository:str}/manifests/{digest:str}",
    Action.DELETE_MANIFEST,
    "Delete a manifest and its tags",
    tags=["manifests"],
)
async def remove_manifest(services: Services, caller: Caller, repository: str, digest: str) -> None:
    await services.manifests.delete_manifest(
        repository, Digest.parse(digest), actor=caller, permit=services.permit(caller)
    )


# --- across repositories


@get("/search", Action.SEARCH, "Search repositories, tags, digests, labels", tags=["search"])
async def search(
    services: Services,
    caller: Caller,
    q: str = Parameter(query="q", max_length=255, description="What to look for.", default=""),
    n: int = Parameter(query="n", ge=1, le=100, default=20),
) -> list[SearchResult]:
    """Best first; only what the caller may see."""
    visible = await services.visible(caller)
    found = await services.read(lambda c: find(c, visible, q, n=n))
    return [
        SearchResult(
            kind=cast("Literal['repository', 'tag', 'digest', 'upstream']", f.kind),
            name=f.name,
            description=f.description,
            digest=f.digest,
            registry=f.registry,
        )
        for f in found
    ]


@get("/labels", Action.SEARCH, "List labels", tags=["repositories"])
async def labels(services: Services, caller: Caller) -> list[LabelCount]:
    visible = await services.visible(caller)
    found = await services.read(lambda c: count_labels(c, visible))
    return [LabelCount(label=label, repositories=count) for label, count in found]


@get("/undo", Asked.SIGNED_IN, "List what can be brought back", tags=["undo"])
async def undoable(
    services: Services,
    caller: Caller,
    repository: str | None = Parameter(query="repository", default=None, max_length=255),
    n: int = Parameter(query="n", ge=1, le=1000, default=100),
) -> list[UndoableView]:
    """Newest first; only of what the caller may see."""
    if repository == "":
        raise InvalidInput("repository is empty")
    visible = await services.visible(caller)
    found = await services.read(lambda c: list_undoable(c, visible=visible, repository=repository, n=n))
    return [
        UndoableView(
            kind=cast("Any", item.kind), name=item.name, digest=item.digest, at=at(item.at), by=item.by
        )
        for item in found
    ]


ROUTES = [
    list_,
    show,
    change,
    remove,
    restore,
    add_star,
    remove_star,
    tags_of,
    show_tag,
    remove_tag,
    history_of_tag,
    restore_tag,
    manifests_of,
    show_manifest,
    remove_manifest,
    search,
    labels,
    undoable,
]
