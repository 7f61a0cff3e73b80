"""`/repositories`: repositories, tags with their history, manifests, sizes; `/search`, `/labels`, `/undo`.

A repository's name is one path segment here: its slashes are written `%2F`.
"""

from __future__ import annotations

import json
from typing import Any, Final, Literal, cast

from litestar import Request, Response
from litestar.params import Parameter

from entrepot.errors import InvalidInput
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_tag
from entrepot.server.access.decision.model import Action
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
    SearchResultView,
    TagDetail,
    TagEventView,
    TagView,
    UndoableView,
    at,
    given,
    microseconds,
)
from entrepot.server.api.views import repository_fields, repository_view, tag_fields, tag_view
from entrepot.server.control import deletion, manifests, repositories, tags
from entrepot.server.control.foreign import apart
from entrepot.server.control.manifests import ManifestRow, image_config, layers_of, platforms_of
from entrepot.server.control.repositories import RepositoryDetails
from entrepot.server.control.search import search as find
from entrepot.server.control.services import Services
from entrepot.server.http.caller import Caller
from entrepot.server.http.guard import Asked

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
    found = await repositories.list_repositories(
        services, caller, last=last, n=n + 1, project=project, label=label
    )
    return paged(request, [repository_view(row) for row in found], n, lambda view: view.name)


def _detail(found: RepositoryDetails) -> RepositoryDetail:
    return RepositoryDetail(
        **{**repository_fields(found.row), "description": found.profile.description},
        readme=found.profile.readme,
        size_bytes=found.size_bytes,
        shared_bytes=found.shared_bytes,
        starred=found.starred,
        version=found.profile.version,
    )


@get("/repositories/{repository:str}", Action.READ, "Show a repository", tags=["repositories"])
async def show(services: Services, caller: Caller, repository: str) -> Response[RepositoryDetail]:
    found = await repositories.show_repository(services, caller, repository)
    return Response(_detail(found), headers=etag(found.profile.version))


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
    found = await repositories.change_profile(
        services, caller, repository, **given(data), expected_version=expected_number(request)
    )
    return Response(_detail(found), headers=etag(found.profile.version))


@delete(
    "/repositories/{repository:str}", Action.DELETE_REPOSITORY, "Delete a repository", tags=["repositories"]
)
async def remove(services: Services, caller: Caller, repository: str) -> None:
    """With its tags and manifests. It can be restored until the undo window ends."""
    await deletion.delete_repository(services, caller, repository)


@post(
    "/repositories/{repository:str}/restore",
    Action.RESTORE,
    "Bring back a deleted repository",
    tags=["repositories"],
    status_code=200,
)
async def restore(services: Services, caller: Caller, repository: str) -> RepositoryDetail:
    await deletion.restore_repository(services, caller, repository)
    return _detail(await repositories.show_repository(services, caller, repository))


@put(
    "/repositories/{repository:str}/star",
    Action.READ,
    "Star a repository",
    tags=["repositories"],
    status_code=204,
)
async def add_star(services: Services, caller: Caller, repository: str) -> None:
    await repositories.set_star(services, caller, repository, starred=True)


@delete("/repositories/{repository:str}/star", Action.READ, "Take a star back", tags=["repositories"])
async def remove_star(services: Services, caller: Caller, repository: str) -> None:
    await repositories.set_star(services, caller, repository, starred=False)


# --- tags


@get("/repositories/{repository:str}/tags", Action.READ, "List tags", tags=["tags"])
async def tags_of(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    repository: str,
    n: N = DEFAULT_N,
    last: Last = "",
    contains: str = Parameter(query="contains", default="", max_length=128),
) -> Response[Page[TagView]]:
    found = await tags.list_tags(services, caller, repository, last=last, n=n + 1, contains=contains)
    return paged(request, [tag_view(row) for row in found], n, lambda view: view.name)


@get("/repositories/{repository:str}/tags/{tag:str}", Action.READ, "Show a tag", tags=["tags"])
async def show_tag(services: Services, caller: Caller, repository: str, tag: str) -> TagDetail:
    """With what is its own and what it shares with others that the caller may see."""
    found = await tags.show_tag(services, caller, repository, tag)
    return TagDetail(
        **tag_fields(found.row), unique_bytes=found.unique_bytes, shared_bytes=found.shared_bytes
    )


@delete("/repositories/{repository:str}/tags/{tag:str}", Action.DELETE_TAG, "Delete a tag", tags=["tags"])
async def remove_tag(services: Services, caller: Caller, repository: str, tag: str) -> None:
    """Its manifest stays; the tag can be restored."""
    await tags.delete_tags(services, caller, repository, [parse_tag(tag)])


@get(
    "/repositories/{repository:str}/tags/{tag:str}/history",
    Action.READ,
    "Where a tag has been",
    tags=["tags"],
)
async def history_of_tag(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    repository: str,
    tag: str,
    n: N = DEFAULT_N,
    last: LastNumber = 0,
) -> Response[Page[TagEventView]]:
    """Newest first."""
    found = await tags.history_of_tag(services, caller, repository, tag, before=last, n=n)
    views = [
        TagEventView(
            number=e.seq, tag=e.name, old=e.old, new=e.new, at=at(e.at), by=e.by, restored=e.restored
        )
        for e in found.events
    ]
    # `paged` looks for one more than asked; the use case tells it by a flag instead.
    return paged(request, [*views, *views[-1:]] if found.more else views, n, lambda view: view.number)


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
    found = await tags.put_back(
        services,
        caller,
        repository,
        parse_tag(tag),
        digest=Digest.parse(data.digest) if data.digest is not None else None,
        at=microseconds(data.at),
    )
    return tag_view(found)


# --- manifests


@get("/repositories/{repository:str}/manifests", Action.READ, "List manifests", tags=["manifests"])
async def manifests_of(
    services: Services,
    caller: Caller,
    request: Request[Any, Any, Any],
    repository: str,
    n: N = DEFAULT_N,
    last: Last = "",
    untagged: bool = Parameter(query="untagged", default=False),
) -> Response[Page[ManifestView]]:
    found = await manifests.list_manifests(
        services, caller, repository, last=last, n=n + 1, untagged=untagged
    )
    views = [ManifestView(**_manifest_fields(row, names)) for row, names in found]
    return paged(request, views, n, lambda view: view.digest)


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
async def show_manifest(services: Services, caller: Caller, repository: str, digest: str) -> ManifestDetail:
    """Reads content, so it needs pull."""
    details = await manifests.show_manifest(services, caller, repository, str(Digest.parse(digest)))
    found = details.row
    config = await image_config(services, repository, found)
    platforms, layers = await apart(lambda: (platforms_of(found.body), layers_of(found.body, config)))
    return ManifestDetail(
        **_manifest_fields(found, details.tags),
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
            for r in details.referrers
        ],
    )


@delete(
    "/repositories/{repository:str}/manifests/{digest:str}",
    Action.DELETE_MANIFEST,
    "Delete a manifest and its tags",
    tags=["manifests"],
)
async def remove_manifest(services: Services, caller: Caller, repository: str, digest: str) -> None:
    await manifests.delete_manifest(services, caller, repository, Digest.parse(digest))


# --- across repositories


@get("/search", Action.SEARCH, "Search repositories, tags, digests, labels", tags=["search"])
async def search(
    services: Services,
    caller: Caller,
    q: str = Parameter(query="q", max_length=255, description="What to look for.", default=""),
    n: int = Parameter(query="n", ge=1, le=100, default=20),
) -> list[SearchResultView]:
    """Best first; only what the caller may see."""
    results = await find(services, caller, q, n=n)
    return [
        SearchResultView(
            kind=cast("Literal['repository', 'tag', 'digest', 'upstream']", f.kind),
            name=f.name,
            description=f.description,
            digest=f.digest,
            registry=f.registry,
        )
        for f in results.found
    ]


@get("/labels", Action.SEARCH, "List labels", tags=["repositories"])
async def labels(services: Services, caller: Caller) -> list[LabelCount]:
    found = await repositories.count_labels(services, caller)
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
    found = await deletion.list_undoable(services, caller, repository=repository, n=n)
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
