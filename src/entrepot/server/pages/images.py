"""An image: by tag or digest, for one platform; and two of them beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from litestar import Response
from sqlalchemy import Connection

from entrepot.errors import InvalidInput, NotFound
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_tag
from entrepot.server.access.decision.model import Action
from entrepot.server.control.content_queries import (
    ManifestRow,
    get_manifest_row,
    get_repository,
    get_tag,
    list_referrers,
    tag_sizes,
    tags_on,
)
from entrepot.server.control.foreign import apart, read_object, short_text
from entrepot.server.control.images import image_config
from entrepot.server.control.page_queries import (
    Sharing,
    bytes_of,
    list_layer_sharing,
    list_tags_with_layers,
    page_of_tags,
)
from entrepot.server.pages.kit.commands import pull_commands
from entrepot.server.pages.kit.comparison import compare_configs, compare_layers
from entrepot.server.pages.kit.image_view import (
    MAX_ENTRIES,
    Choice,
    ConfigView,
    LayerView,
    choices_of,
    config_view,
    kind_of_referrer,
    layer_views,
    pretty,
)
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import Visit
from entrepot.server.pages.repositories import repository_head
from entrepot.server.storage.errors import BlobMissing

__all__ = ["ROUTES"]

DEFAULT_PLATFORM = "linux/amd64"
CHOICES = 100


@dataclass(frozen=True, slots=True)
class Shown:
    """What a tag or digest stands for, and the image of it that is looked at."""

    top: ManifestRow
    choices: list[Choice]
    """Of an index; empty for an image."""
    platform: str
    """The chosen one; empty for an image."""
    image: ManifestRow | None
    """None: an index that is empty or whose manifests are not here."""
    config: ConfigView | None
    layers: list[LayerView]


async def _shown(visit: Visit, repository: str, digest: str) -> Shown:
    def read(connection: Connection, wanted: str) -> ManifestRow:
        return get_manifest_row(connection, get_repository(connection, repository).id, wanted)

    top: ManifestRow = await visit.read(read, digest)
    choices = await apart(choices_of, top)
    chosen = _choose(choices, visit.query("platform"))
    image: ManifestRow | None = top
    if choices:
        try:
            image = await visit.read(read, chosen.digest) if chosen else None
        except NotFound:
            image = None
    config = await _config(visit, repository, image)
    layers = await apart(layer_views, image.body, config) if image else []
    return Shown(
        top=top,
        choices=choices,
        platform=chosen.platform if chosen else "",
        image=image,
        config=config_view(config) if config else None,
        layers=layers,
    )


def _choose(choices: list[Choice], wanted: str) -> Choice | None:
    """By platform or digest; else what most people run, else the first."""
    for choice in choices:
        if wanted and wanted in {choice.key, choice.platform, choice.digest}:
            return choice
    usual = [choice for choice in choices if choice.platform == DEFAULT_PLATFORM]
    return next(iter([*usual, *choices]), None)


async def _config(visit: Visit, repository: str, image: ManifestRow | None) -> dict[str, Any] | None:
    if image is None:
        return None
    try:
        return await image_config(visit.services, repository, image)
    except BlobMissing:
        return None


@page("/repositories/{repository:str}/-/tags/{tag:str}", Action.PULL)
async def by_tag(visit: Visit, repository: str, tag: str) -> Response[Any]:
    name = parse_tag(tag)
    row = await visit.read(lambda c: get_tag(c, get_repository(c, repository).id, name))
    return await _page(visit, repository, row.digest, tag=name)


@page("/repositories/{repository:str}/-/manifests/{digest:str}", Action.PULL)
async def by_digest(visit: Visit, repository: str, digest: str) -> Response[Any]:
    return await _page(visit, repository, str(Digest.parse(digest)), tag=None)


async def _page(visit: Visit, repository: str, digest: str, *, tag: str | None) -> Response[Any]:
    head = await repository_head(visit, repository, "tags")
    visible = await visit.visible()
    shown = await _shown(visit, repository, digest)
    digests = [layer.digest for layer in shown.layers]
    image_digest = shown.image.digest if shown.image else digest

    def read(connection: Connection) -> tuple[Any, ...]:
        names = tags_on(connection, head.row.id, [digest]).get(digest, [])
        referrers = [
            row
            for about in dict.fromkeys((digest, image_digest))
            for row in list_referrers(connection, head.row.id, about, n=CHOICES)
        ]
        return (
            names,
            referrers,
            tag_sizes(connection, head.row.id, digest, visible),
            list_layer_sharing(connection, visible, head.row.id, digests),
            list_tags_with_layers(connection, head.row.id, digests, without=image_digest),
            page_of_tags(connection, head.row.id, n=CHOICES).tags,
            bytes_of(connection, head.row.id, digest),
        )

    names, referrers, sizes, sharing, siblings, others, total = await visit.read(read)
    sharing_list: list[Sharing] = sharing
    unique, shared = sizes if len(names) < 2 else (0, sum(sizes))
    return visit.render(
        "image.html",
        head=head,
        tag=tag,
        digest=digest,
        shown=shown,
        names=[name for name in names if name != tag],
        referrers=[
            (row, kind_of_referrer(row.artifact_type or ""), _annotations(row.annotations))
            for row in referrers
        ],
        total_bytes=total,
        unique_bytes=unique,
        shared_bytes=shared,
        sharing=sharing_list,
        siblings=siblings,
        others=[row.name for row in others if row.name != tag],
        manifest_text=await apart(pretty, shown.image.body if shown.image else shown.top.body),
        index_text=await apart(pretty, shown.top.body) if shown.choices else "",
        pull=pull_commands(
            visit.host,
            repository,
            tag=tag,
            digest=digest,
            private=head.visibility != "public" and not visit.is_open,
        ),
    )


def _annotations(text: str | None) -> list[tuple[str, str]]:
    found = read_object(text.encode("utf-8", "replace")) if text else {}
    return [(short_text(k), short_text(v)) for k, v in sorted(found.items(), key=str)[:MAX_ENTRIES]]


@page("/repositories/{repository:str}/-/compare", Action.PULL)
async def compare(visit: Visit, repository: str) -> Response[Any]:
    """Two tags (or digests): what is shared, what is new, what is gone."""
    head = await repository_head(visit, repository, "compare")
    others = await visit.read(lambda c: page_of_tags(c, head.row.id, n=CHOICES).tags)
    names = [row.name for row in others]
    first, second = (
        visit.query("from") or (names[1] if len(names) > 1 else ""),
        visit.query("to") or (names[0] if names else ""),
    )
    problems: dict[str, str] = {}
    sides = []
    for field, text in (("from", first), ("to", second)):
        try:
            sides.append(await _shown(visit, repository, await _digest_of(visit, repository, text)))
        except (NotFound, InvalidInput) as error:
            problems[field] = f"{error.message[:1].upper()}{error.message[1:]}." if text else "Name a tag."
    context: dict[str, Any] = {"head": head, "first": first, "second": second, "names": names}
    if problems:
        asked = bool(visit.query("from") or visit.query("to"))
        return visit.render(
            "compare.html",
            status=400 if asked else 200,
            problems=problems if asked else {},
            before=None,
            after=None,
            **context,
        )
    before, after = sides
    return visit.render(
        "compare.html",
        problems={},
        before=before,
        after=after,
        layers=compare_layers(before.layers, after.layers),
        settings=compare_configs(before.config, after.config),
        platforms=sorted({c.platform for s in sides for c in s.choices if not c.is_attestation}),
        **context,
    )


async def _digest_of(visit: Visit, repository: str, text: str) -> str:
    if ":" in text:
        return str(Digest.parse(text))
    name = parse_tag(text)
    return (await visit.read(lambda c: get_tag(c, get_repository(c, repository).id, name))).digest


ROUTES = [by_tag, by_digest, compare]
