"""What `entrepot images` shows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from entrepot.cli import exitcodes
from entrepot.cli.invocation import open_store
from entrepot.cli.output import (
    NONE,
    Column,
    Listing,
    human_size,
    print_error,
    print_listing,
    since,
    utc_now,
    write,
)

if TYPE_CHECKING:
    from entrepot.images.image import Image
    from entrepot.images.store import ImageStore
    from entrepot.oci.digest import Digest

LISTING = Listing(
    columns=(
        Column("Repository", "REPOSITORY"), Column("Tag", "TAG"), Column("Digest", "DIGEST"),
        Column("ID", "IMAGE ID"), Column("CreatedSince", "CREATED"), Column("CreatedAt", "CREATED AT"),
        Column("Size", "SIZE"), Column("VirtualSize", "SIZE"), Column("SharedSize", "SHARED SIZE"),
        Column("UniqueSize", "UNIQUE SIZE"), Column("Containers", "CONTAINERS"),
        Column("Platform", "PLATFORM"),
    ),
    shown=("Repository", "Tag", "ID", "CreatedSince", "Size"),
    json_names=(
        "Containers", "CreatedAt", "CreatedSince", "Digest", "ID", "Repository", "SharedSize", "Size", "Tag",
        "UniqueSize", "VirtualSize",
    ),
    quiet="ID",
    kind="formatter.imageContext",
)  # fmt: skip
WITH_DIGEST = ("Repository", "Tag", "Digest", "ID", "CreatedSince", "Size")


def show_images(
    reference: str | None, *, all_images: bool, digests: bool, filters: tuple[str, ...],
    format_: str | None, no_trunc: bool, quiet: bool, tree: bool,
) -> int:  # fmt: skip
    """Print what `entrepot images` was asked for; the exit code. Raises EntrepotError."""
    from entrepot.actions.images import list_images

    if tree and (digests or quiet or no_trunc or format_):
        print_error("--tree does not go with --digests, --format, --no-trunc or --quiet")
        return exitcodes.FAILED
    store = open_store()
    found = list_images(reference, filters=filters, all_images=all_images, store=store)
    if tree:
        _print_tree(store, found)
        return exitcodes.OK
    need_digest = digests or (format_ is not None and ".Digest" in format_)
    now = utc_now()
    rows = [
        _row(image, *name, now=now, full=no_trunc)
        for image in found
        for name in names_of(image, with_digests=need_digest)
    ]
    print_listing(LISTING, rows, format_=format_, quiet=quiet, shown=WITH_DIGEST if digests else None)
    return exitcodes.OK


def _print_tree(store: ImageStore, found: Sequence[Image]) -> None:
    """Each image with what it takes unpacked and stored, and `U` when a container uses it; its platforms
    below."""
    from entrepot.actions.platforms import platforms_of
    from entrepot.actions.uses import containers_by_image
    from entrepot.oci.mediatype import is_index

    uses = containers_by_image(store)
    rows = [("IMAGE", "ID", "DISK USAGE", "CONTENT SIZE", "EXTRA")]
    for image in found:
        names = [tag.familiar() for tag in image.tags] or [NONE]
        for name in names:
            named = store.resolve(name) if image.tags else image
            platforms = [one for one in platforms_of(store, named) if one.attests is None]
            stored = sum(one.content_size for one in platforms)
            unpacked = sum(one.unpacked_size for one in platforms)
            if not platforms and not is_index(named.manifest.media_type):
                stored = sum(layer.size for layer in store.manifest(named).layers)
                unpacked = named.size
            extra = "U" if image.id in uses else ""
            rows.append((name, image.id.short, human_size(unpacked + stored), human_size(stored), extra))
            for number, one in enumerate(platforms):
                branch = "└─ " if number == len(platforms) - 1 else "├─ "
                sizes = human_size(one.content_size + one.unpacked_size), human_size(one.content_size)
                rows.append((f"{branch}{one.platform or NONE}", one.descriptor.digest.short, *sizes, ""))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    for name, short, used, content, extra in rows:
        left = f"{name:<{widths[0]}}   {short:<{widths[1]}}"
        write(f"{left}   {used:>{widths[2]}}   {content:>{widths[3]}}   {extra}".rstrip())


def names_of(image: Image, *, with_digests: bool) -> Iterator[tuple[str, str, str]]:
    """Repository, tag and digest of each line an image takes."""
    if not image.tags and not image.repo_digests:
        yield NONE, NONE, NONE
        return
    digests: dict[str, list[Digest]] = {}
    for reference in image.repo_digests:
        if reference.digest is not None:
            digests.setdefault(reference.familiar_name, []).append(reference.digest)
    for tag in image.tags:
        own = digests.get(tag.familiar_name, []) if with_digests else []
        for text in [str(one) for one in own] or [NONE]:
            yield tag.familiar_name, tag.tag or NONE, text
    tagged = {tag.familiar_name for tag in image.tags}
    for name, known in digests.items():
        if name not in tagged:
            for digest in known if with_digests else known[:1]:
                yield name, NONE, str(digest) if with_digests else NONE


def _row(
    image: Image, repository: str, tag: str, digest: str, *, now: datetime, full: bool
) -> dict[str, Any]:
    return {
        "Repository": repository,
        "Tag": tag,
        "Digest": digest,
        "ID": str(image.id) if full else image.id.short,
        "CreatedSince": since(image.created, now),
        "CreatedAt": go_time(image.created),
        "Size": human_size(image.size),
        "VirtualSize": human_size(image.size, 4),
        "SharedSize": "N/A",
        "UniqueSize": "N/A",
        "Containers": "N/A",
        "Platform": str(image.platform or ""),
    }


def go_time(moment: datetime | None) -> str:
    """A time the way Go prints one, in this machine's zone."""
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z") if moment else "N/A"
