"""Volumes: directories of the store that outlive containers.

<store>/entrepot/volumes/<name>/_data
"""

from __future__ import annotations

import os
from pathlib import Path

from entrepot.containers.records import Container, Containers, Mount
from entrepot.files import close_to_others, locked, make_private
from entrepot.images.snapshots import remove_path
from entrepot.images.store import ImageStore
from entrepot.layers.entry import Kind
from entrepot.layers.paths import parse_path
from entrepot.layers.union import Union, copy_attributes, copy_tree


def volume_path(store: ImageStore, name: str) -> Path:
    """Where a volume's files are."""
    return store.paths.own / "volumes" / name / "_data"


def make_volume(store: ImageStore, mount: Mount, image: Union) -> Mount:
    """The volume's directory; a new one gets what the image has at the target, as docker does."""
    path = volume_path(store, mount.name)
    close_to_others(path.parent)
    if not path.is_dir():
        make_private(path.parent.parent)
        make_private(path.parent)
        with locked(path.parent / "lock", exclusive=True):
            if not path.is_dir():  # else another container was faster
                _make_filled(path, mount.target, image)
    return Mount(
        source=str(path.absolute()),
        target=mount.target,
        kind="volume",
        name=mount.name,
        read_only=mount.read_only,
        propagation=mount.propagation,
        anonymous=mount.anonymous,
    )


def _make_filled(path: Path, target: str, image: Union) -> None:
    """It has its name once it is filled: a half-filled one would be taken for the container's own data."""
    new = path.with_name("new")
    remove_path(new)  # of a process that was killed
    try:
        new.mkdir(mode=0o755)
        _fill(new, target, image)
        new.rename(path)
    except BaseException:
        remove_path(new)
        raise


def _fill(path: Path, target: str, image: Union) -> None:
    resolved = image.resolve(parse_path(target.encode()))
    found = image.find(resolved)
    if found is None or found.kind is not Kind.DIRECTORY:
        return
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with image.opened(resolved) as fds:
            copy_tree(fds, fd)
            copy_attributes(fds[0], os.fstat(fds[0]), fd)
    finally:
        os.close(fd)


def remove_anonymous_volumes(containers: Containers, container: Container) -> None:
    """Remove the volumes nobody named, but for those that another container has by `--volumes-from`."""
    names = {mount.name for mount in container.host.mounts if mount.anonymous and mount.name}
    if not names:
        return
    others = (other for other in containers.list() if other.id != container.id)
    for name in names - {mount.name for other in others for mount in other.host.mounts}:
        remove_path(volume_path(containers.store, name).parent)
