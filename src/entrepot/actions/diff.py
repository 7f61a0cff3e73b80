"""`diff`: what a container did to its image's files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.images.store import ImageStore
from entrepot.layers.diff import listed_changes


@dataclass(frozen=True, slots=True)
class ChangedPath:
    """One line of `diff`."""

    kind: str
    """`A`dded, `C`hanged or `D`eleted."""
    path: str


def container_changes(name: str, *, store: ImageStore | Path | str | None = None) -> list[ChangedPath]:
    """Changed paths, parents first. What is in volumes is no change. Raises NoSuchContainer."""
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    with lifecycle.rootfs(container).changes() as changes:
        return [
            ChangedPath(kind.value, "/" + os.fsdecode(b"/".join(path)))
            for kind, path in listed_changes(changes)
        ]
