"""`history`: how an image came about, the newest step first."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from entrepot.actions.inspect import check_platform
from entrepot.actions.places import the_store
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.images.times import parse_time
from entrepot.oci.digest import Digest
from entrepot.oci.imageconfig import HistoryEntry


@dataclass(frozen=True, slots=True)
class HistoryRow:
    id: Digest | None
    """The image this step made, when it is known here."""
    created: datetime | None
    created_by: str
    comment: str
    size: int
    """Bytes the step's layer has once unpacked."""


def history(
    name: str, *, platform: str | None = None, store: ImageStore | Path | str | None = None
) -> list[HistoryRow]:
    """Raises NoSuchImage, PlatformMismatch."""
    place = the_store(store)
    image = place.resolve(name)
    check_platform(image, name, platform)
    config = place.config(image)
    entries = list(config.history)
    sizes = list(place.layer_sizes(image))
    with_layer = sum(not entry.empty_layer for entry in entries)
    # Layers the history does not tell of are the oldest ones.
    entries = [HistoryEntry()] * max(0, len(sizes) - with_layer) + entries
    rows, at = [], 0
    for entry in entries:
        size = 0
        if not entry.empty_layer and at < len(sizes):
            size, at = sizes[at], at + 1
        rows.append(HistoryRow(None, parse_time(entry.created), entry.created_by, entry.comment, size))
    rows.reverse()
    return _with_ids(place, image, rows)


def _with_ids(store: ImageStore, image: Image, rows: list[HistoryRow]) -> list[HistoryRow]:
    named: list[HistoryRow] = []
    current: Image | None = image
    for row in rows:
        known = current.id if current else None
        named.append(HistoryRow(known, row.created, row.created_by, row.comment, row.size))
        parent = current.parent if current else None
        current = store.find_id(parent) if parent else None
    return named
