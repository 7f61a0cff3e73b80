"""An image: by tag or digest, for one platform; and two of them beside each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from litestar import Response

from entrepot.errors import InvalidInput, NotFound
from entrepot.oci.digest import Digest
from entrepot.oci.reference import parse_tag
from entrepot.server.access.decision.model import Action
from entrepot.server.control import manifests
from entrepot.server.control.contents import (
    Contents,
    FileDifferenceRow,
    FilesNotListed,
    compare_files,
    open_contents,
)
from entrepot.server.control.foreign import apart, read_object, short_text
from entrepot.server.control.manifests import Chart, ManifestRow, chart_of, image_config
from entrepot.server.control.retention import plan_tag
from entrepot.server.control.tags import TagRow, find_tag, history_of_tag, page_of_tags
from entrepot.server.pages.kit import addresses
from entrepot.server.pages.kit.artifact_view import ArtifactView, artifact_view, kind_of_referrer
from entrepot.server.pages.kit.commands import commands_for
from entrepot.server.pages.kit.comparison import compare_configs, compare_layers
from entrepot.server.pages.kit.file_view import picture_of
from entrepot.server.pages.kit.image_view import (
    MAX_ENTRIES,
    ConfigView,
    LayerView,
    PageChoice,
    choices_of,
    config_view,
    layer_views,
    pretty,
)
from entrepot.server.pages.kit.route import page
from entrepot.server.pages.kit.visit import PageVisit
from entrepot.server.pages.repositories import repository_head

__all__ = ["ROUTES", "Shown", "contents_of", "digest_of", "shown_image"]

DEFAULT_PLATFORM = "linux/amd64"
CHOICES = 100
MAX_CHANGES = 500
"""Files that differ; more are only said to be there."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a tag or digest stands for, and the image of it that is looked at."""

    top: ManifestRow
    choices: list[PageChoice]
    """Of an index; empty for an image."""
    platform: str
    """The chosen one; empty for an image."""
    image: ManifestRow | None
    """None: an index that is empty or whose manifests are not here."""
    config: ConfigView | None
    layers: list[LayerView]
    artifact: ArtifactView | None
    """Of what is no image; then there are no layers."""
    chart: Chart | None


async def shown_image(visit: PageVisit, repository: str, digest: str) -> Shown:
    top = await _manifest(visit, repository, digest)
    choices = await apart(choices_of, top)
    chosen = _choose(choices, visit.query("platform"))
    image: ManifestRow | None = top
    if choices:
        try:
            image = await _manifest(visit, repository, chosen.digest) if chosen else None
        except NotFound:
            image = None
    config = await image_config(visit.services, repository, image) if image is not None else None
    artifact = await apart(artifact_view, image.body) if image else None
    chart = await chart_of(visit.services, repository, image) if image and artifact else None
    layers = await apart(layer_views, image.body, config) if image and not artifact else []
    return Shown(
        top=top,
        choices=choices,
        platform=chosen.platform if chosen else "",
        image=image,
        config=config_view(config) if config else None,
        layers=layers,
        artifact=artifact,
        chart=chart,
    )


def _choose(choices: list[PageChoice], wanted: str) -> PageChoice | None:
    """By platform or digest; else what most people run, else the first."""
    for choice in choices:
        if wanted and wanted in {choice.key, choice.platform, choice.digest}:
            return choice
    usual = [choice for choice in choices if choice.platform == DEFAULT_PLATFORM]
    return next(iter([*usual, *choices]), None)


async def _manifest(visit: PageVisit, repository: str, digest: str) -> ManifestRow:
    return (await manifests.show_manifest(visit.services, visit.caller, repository, digest)).row


@page("/repositories/{repository:str}/-/tags/{tag:str}", Action.PULL)
async def by_tag(visit: PageVisit, repository: str, tag: str) -> Response[Any]:
    name = parse_tag(tag)
    try:
        row = await find_tag(visit.services, visit.caller, repository, name)
    except NotFound:
        past = await history_of_tag(visit.services, visit.caller, repository, name, n=1)
        if not past.events:
            raise
        # Links to a tag outlive it: they lead to what became of it, and to the way back.
        return visit.go(addresses.repository(repository, "tags", name, "history"))
    return await _page(visit, repository, row.digest, row)


@page("/repositories/{repository:str}/-/manifests/{digest:str}", Action.PULL)
async def by_digest(visit: PageVisit, repository: str, digest: str) -> Response[Any]:
    return await _page(visit, repository, str(Digest.parse(digest)), None)


async def _page(visit: PageVisit, repository: str, digest: str, row: TagRow | None) -> Response[Any]:
    tag = row.name if row else None
    head = await repository_head(visit, repository, "tags")
    shown = await shown_image(visit, repository, digest)
    around = await manifests.show_surroundings(
        visit.services,
        visit.caller,
        repository,
        digest,
        image=shown.image.digest if shown.image else digest,
        layers=[layer.digest for layer in shown.layers],
        n=CHOICES,
    )
    referrers = [
        (one, kind_of_referrer(one.artifact_type or ""), _annotations(one.annotations))
        for one in around.referrers
    ]
    signed_by = around.signature or next(
        (one.digest for one, kind, _notes in referrers if kind.startswith("Signature")), None
    )
    files, why = await contents_of(visit, repository, shown)
    fate = await plan_tag(visit.services, visit.caller, repository, tag) if tag else None
    return visit.render(
        "image.html",
        files=files,
        picture=picture_of(files.view.head) if files else None,
        no_files=why,
        head=head,
        tag=tag,
        fate=fate,
        row=row,
        signed_by=signed_by,
        digest=digest,
        shown=shown,
        names=[name for name in around.tags if name != tag],
        referrers=referrers,
        total_bytes=around.total_bytes,
        unique_bytes=around.unique_bytes,
        shared_bytes=around.shared_bytes,
        sharing=around.sharing,
        siblings=around.siblings,
        others=[name for name in around.other_tags if name != tag],
        manifest_text=await apart(pretty, shown.image.body if shown.image else shown.top.body),
        index_text=await apart(pretty, shown.top.body) if shown.choices else "",
        pull=commands_for(
            None if shown.choices else shown.artifact,
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
async def compare(visit: PageVisit, repository: str) -> Response[Any]:
    """Two tags (or digests): what is shared, what is new, what is gone."""
    head = await repository_head(visit, repository, "compare")
    tags = (await page_of_tags(visit.services, visit.caller, repository, n=CHOICES)).tags
    names = [row.name for row in tags]
    second = visit.query("to") or (names[0] if names else "")
    first = visit.query("from") or _another(tags, second)
    problems: dict[str, str] = {}
    sides = []
    for field, text in (("from", first), ("to", second)):
        try:
            sides.append(await shown_image(visit, repository, await digest_of(visit, repository, text)))
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
    changes, why = await _changes(visit, repository, before, after)
    return visit.render(
        "compare.html",
        problems={},
        changes=changes,
        no_files=why,
        before=before,
        after=after,
        layers=compare_layers(before.layers, after.layers),
        settings=compare_configs(before.config, after.config),
        platforms=sorted({c.platform for s in sides for c in s.choices if not c.is_attestation}),
        **context,
    )


async def contents_of(visit: PageVisit, repository: str, shown: Shown) -> tuple[Contents | None, str]:
    """The files of the image that is looked at, or why there are none to show; empty for what is no image."""
    if shown.image is None or not shown.layers:
        return None, ""
    try:
        return await open_contents(visit.services, visit.caller, repository, shown.image.digest), ""
    except FilesNotListed as error:
        return None, f"{error.message[:1].upper()}{error.message[1:]}."


async def _changes(
    visit: PageVisit, repository: str, before: Shown, after: Shown
) -> tuple[list[FileDifferenceRow] | None, str]:
    if before.image is None or after.image is None or before.image.digest == after.image.digest:
        return None, ""
    old, why = await contents_of(visit, repository, before)
    new, why_not = await contents_of(visit, repository, after)
    if old is None or new is None:
        return None, why or why_not
    return await compare_files(old, new, n=MAX_CHANGES + 1), ""


def _another(tags: Sequence[Any], name: str) -> str:
    """The first tag, as they are listed, that is another image than `name`; the empty text when none is."""
    digest = next((row.digest for row in tags if row.name == name), name)
    return next((row.name for row in tags if row.digest != digest), "")


async def digest_of(visit: PageVisit, repository: str, text: str) -> str:
    if ":" in text:
        return str(Digest.parse(text))
    name = parse_tag(text)
    return (await find_tag(visit.services, visit.caller, repository, name)).digest


ROUTES = [by_tag, by_digest, compare]
