"""`scan`: the packages of an image held against advisories."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import Struct

from entrepot.actions.errors import FileUnusable
from entrepot.actions.inventory import Examined, inventory_of
from entrepot.images.store import ImageStore
from entrepot.inventory.advisories.loading import open_advisories
from entrepot.inventory.advisories.match import Findings, match
from entrepot.inventory.advisories.vex import read_vex

if TYPE_CHECKING:
    from entrepot.client.settings import ClientSettings


class Scanned(Struct, frozen=True):
    """What was looked into, and what is known against it."""

    subject: Examined
    result: Findings


def scan(
    target: str,
    *,
    advisories: Sequence[Path],
    vex: Sequence[Path] = (),
    platform: str | None = None,
    store: ImageStore | Path | str | None = None,
    settings: ClientSettings | None = None,
    cache: Path | None = None,
) -> Scanned:
    """`advisories` are files and folders; an index of them is kept in `cache` (this user's, when None).

    Raises as `inventory_of`, and FileUnusable, InvalidAdvisories.
    """
    for path in (*advisories, *vex):
        if not path.exists():
            raise FileUnusable(f"{path}: no such file or directory")
    with open_advisories(advisories, cache or default_cache()) as database:
        statements = [statement for path in vex for statement in read_vex(path)]
        subject = inventory_of(target, platform=platform, store=store, settings=settings)
        image = tuple(filter(None, (target, subject.name, subject.digest)))
        return Scanned(subject, match(subject.inventory, database, vex=statements, image=image))


def default_cache() -> Path:
    """What may be deleted at any time (XDG Base Directory Specification)."""
    base = os.environ.get("XDG_CACHE_HOME") or ""
    folder = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return folder / "entrepot" / "advisories"
