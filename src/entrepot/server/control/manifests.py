"""Manifests: what is in an image or artifact, what refers to it, who else holds its layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from entrepot.oci.digest import Digest
from entrepot.server.access.decision.actor import Actor
from entrepot.server.access.decision.model import Action
from entrepot.server.control.charts import Chart, chart_of
from entrepot.server.control.images import ImageLayer, image_config, layers_of
from entrepot.server.control.queries import content, lists, moves
from entrepot.server.control.queries.content import ManifestRow, platforms_of
from entrepot.server.control.queries.lists import Sharing
from entrepot.server.control.services import Services
from entrepot.server.control.transaction import Transaction, look

__all__ = [
    "Chart",
    "ImageLayer",
    "ManifestDetails",
    "ManifestRow",
    "ManifestSurroundings",
    "Sharing",
    "chart_of",
    "delete_manifest",
    "image_config",
    "layers_of",
    "list_manifests",
    "platforms_of",
    "show_manifest",
    "show_surroundings",
]


@dataclass(frozen=True, slots=True)
class ManifestDetails:
    row: ManifestRow
    tags: list[str]
    referrers: list[Any]


@dataclass(frozen=True, slots=True)
class ManifestSurroundings:
    """What else a repository, and others that the actor sees, have to do with an image."""

    tags: list[str]
    referrers: list[Any]
    """Of the manifest that was asked for and of the image that is looked at."""
    unique_bytes: int
    shared_bytes: int
    total_bytes: int
    sharing: list[Sharing]
    siblings: list[Any]
    """Tags of the repository with some of the layers."""
    other_tags: list[str]
    """Of other images: comparing one with itself shows nothing."""
    signature: str | None
    """Digest of the signature that cosign keeps beside the manifest by a tag; other ones are referrers."""


async def list_manifests(
    services: Services,
    actor: Actor,
    repository: str,
    *,
    last: str = "",
    n: int = 100,
    untagged: bool = False,
) -> list[tuple[ManifestRow, list[str]]]:
    """By digest, after `last`, each with its tags. Raises NotFound."""

    def see(t: Transaction) -> list[tuple[ManifestRow, list[str]]]:
        t.require(Action.READ, repository=repository)
        repo_id = content.get_repository(t.connection, repository).id
        return content.list_manifests(t.connection, repo_id, last=last, n=n, untagged=untagged)

    return await look(services, actor, see)


async def show_manifest(services: Services, actor: Actor, repository: str, digest: str) -> ManifestDetails:
    """Reads content, so it needs pull. Raises NotFound."""

    def see(t: Transaction) -> ManifestDetails:
        repo_id = _repository(t, repository)
        row = content.get_manifest_row(t.connection, repo_id, digest)
        tags = content.tags_on(t.connection, repo_id, [digest]).get(digest, [])
        return ManifestDetails(row, tags, content.list_referrers(t.connection, repo_id, digest))

    return await look(services, actor, see)


async def show_surroundings(
    services: Services,
    actor: Actor,
    repository: str,
    digest: str,
    *,
    image: str,
    layers: Sequence[str],
    n: int,
) -> ManifestSurroundings:
    """Of the manifest `digest`, of which the image `image` with its layers is looked at; `n` of each at most.

    Raises NotFound.
    """

    def see(t: Transaction) -> ManifestSurroundings:
        repo_id, visible = _repository(t, repository), t.visible
        tags = content.tags_on(t.connection, repo_id, [digest]).get(digest, [])
        unique, shared = content.tag_sizes(t.connection, repo_id, digest, visible, tags=tags)
        return ManifestSurroundings(
            tags=tags,
            referrers=[
                row
                for about in dict.fromkeys((digest, image))
                for row in content.list_referrers(t.connection, repo_id, about, n=n)
            ],
            unique_bytes=unique,
            shared_bytes=shared,
            total_bytes=lists.bytes_of(t.connection, repo_id, digest),
            sharing=lists.list_layer_sharing(t.connection, visible, repo_id, layers),
            siblings=lists.list_tags_with_layers(t.connection, repo_id, layers, without=image),
            signature=moves.present(t.connection, repo_id, f"{digest.replace(':', '-')}.sig"),
            other_tags=[
                row.name
                for row in lists.page_of_tags(t.connection, repo_id, n=n).tags
                if row.digest not in (digest, image)
            ],
        )

    return await look(services, actor, see)


async def delete_manifest(services: Services, actor: Actor, repository: str, digest: Digest) -> None:
    """With its tags; they can be restored. Raises NameUnknown, ManifestUnknown, Denied."""
    await services.manifests.delete_manifest(
        repository, digest, actor=actor, permit=services.access.permit_for(actor.principal)
    )


def _repository(t: Transaction, name: str) -> int:
    """Its id, for who may pull from it. Raises NotFound."""
    t.require(Action.PULL, repository=name)
    return content.get_repository(t.connection, name).id
