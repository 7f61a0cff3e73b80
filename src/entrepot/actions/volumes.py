"""`volume ls`, `inspect`, `rm` and `prune`: volumes are made by `run -v NAME:…` and outlive containers."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from msgspec import Struct

from entrepot.actions.errors import InvalidFilter
from entrepot.actions.places import the_store
from entrepot.containers.records import Containers
from entrepot.errors import Conflict, NotFound
from entrepot.images.snapshots import Snapshots, remove_path
from entrepot.images.store import ImageStore

FILTERS = frozenset(("dangling", "driver", "label", "name"))
_ANONYMOUS = re.compile(r"[0-9a-f]{64}\Z")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


class NoSuchVolume(NotFound):
    """No volume has this name."""

    code: ClassVar[str] = "no-such-volume"

    def __init__(self, name: str) -> None:
        super().__init__(f"get {name}: no such volume")


class VolumeInUse(Conflict):
    """A container, running or not, has the volume."""

    code: ClassVar[str] = "volume-in-use"


class Volume(Struct, frozen=True):
    """A volume, and the containers that have it."""

    name: str
    path: Path
    """Where its files are."""
    created: datetime
    containers: tuple[str, ...] = ()
    """Their IDs."""

    @property
    def is_anonymous(self) -> bool:
        """Nobody named it: an image asked for it, or `-v TARGET`."""
        return _ANONYMOUS.match(self.name) is not None


class VolumesPruned(Struct, frozen=True):
    """What `volume prune` did."""

    removed: tuple[str, ...]
    freed_bytes: int


def list_volumes(
    *, filters: Sequence[str] = (), store: ImageStore | Path | str | None = None
) -> list[Volume]:
    """Those that fit `filters` (`dangling=`, `name=`, `driver=`, `label=`), by name. Raises InvalidFilter."""
    chosen = _parse_filters(filters)
    return [volume for volume in _volumes(the_store(store)) if _fits(volume, chosen)]


def find_volume(name: str, *, store: ImageStore | Path | str | None = None) -> Volume:
    """Raises NoSuchVolume."""
    for volume in _volumes(the_store(store)):
        if volume.name == name:
            return volume
    raise NoSuchVolume(name)


def inspect_volume(name: str, *, store: ImageStore | Path | str | None = None) -> dict[str, Any]:
    """The document `docker volume inspect` prints. Raises NoSuchVolume."""
    volume = find_volume(name, store=store)
    return {
        "CreatedAt": volume.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Driver": "local",
        "Labels": None,
        "Mountpoint": str(volume.path.absolute()),
        "Name": volume.name,
        "Options": None,
        "Scope": "local",
    }


def remove_volume(name: str, *, store: ImageStore | Path | str | None = None) -> None:
    """Remove a volume with its files. Raises NoSuchVolume, VolumeInUse."""
    place = the_store(store)
    with Snapshots(place).not_in_use():
        volume = find_volume(name, store=place)
        if volume.containers:
            users = ", ".join(volume.containers)
            raise VolumeInUse(f"remove {name}: volume is in use - [{users}]")
        remove_path(volume.path.parent)


def prune_volumes(
    *, all_volumes: bool = False, filters: Sequence[str] = (), store: ImageStore | Path | str | None = None
) -> VolumesPruned:
    """Remove volumes that no container has: those nobody named, or with `all_volumes` the named ones too.

    Raises InvalidFilter.
    """
    place = the_store(store)
    chosen = _parse_filters(filters, allowed=frozenset(("label", "all")))
    everything = all_volumes or any(_BOOLEANS.get(value) for value in chosen.pop("all", ()))
    removed, freed = [], 0
    with Snapshots(place).not_in_use():
        for volume in _volumes(place):
            if volume.containers or not (everything or volume.is_anonymous) or not _fits(volume, chosen):
                continue
            freed += volume_bytes(volume)
            remove_path(volume.path.parent)
            removed.append(volume.name)
    return VolumesPruned(tuple(removed), freed)


def volume_bytes(volume: Volume) -> int:
    """Bytes in its files."""
    total = 0
    for folder, _, names in os.walk(volume.path):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - many files
    return total


def _volumes(store: ImageStore) -> list[Volume]:
    store.keep_private()
    users = _users(store)
    found = []
    with contextlib.suppress(FileNotFoundError):
        for folder in sorted((store.paths.own / "volumes").iterdir()):
            path = folder / "_data"
            with contextlib.suppress(OSError):
                # The lock beside the files is made with the volume and never written to.
                lock = folder / "lock"
                made = (lock if lock.exists() else path).stat().st_mtime
                if path.is_dir():
                    created = datetime.fromtimestamp(int(made), UTC)
                    found.append(Volume(folder.name, path, created, users.get(folder.name, ())))
    return found


def _users(store: ImageStore) -> Mapping[str, tuple[str, ...]]:
    users: dict[str, tuple[str, ...]] = {}
    for container in Containers(store).list():
        for mount in container.host.mounts:
            if mount.name:
                users[mount.name] = (*users.get(mount.name, ()), container.id)
    return users


def _parse_filters(filters: Sequence[str], *, allowed: frozenset[str] = FILTERS) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for text in filters:
        key, equals, value = text.partition("=")
        if key not in allowed or not equals:
            raise InvalidFilter(key)
        if key in ("dangling", "all") and value not in _BOOLEANS:
            raise InvalidFilter(f"{key}=[{value}]")
        chosen.setdefault(key, []).append(value)
    return chosen


def _fits(volume: Volume, chosen: Mapping[str, Sequence[str]]) -> bool:
    tests: dict[str, Callable[[str], bool]] = {
        "dangling": lambda value: _BOOLEANS[value] is not bool(volume.containers),
        "driver": lambda value: value == "local",
        "label": lambda value: False,  # noqa: ARG005 - volumes have no labels here
        "name": lambda value: value in volume.name,
    }
    return all(any(tests[key](value) for value in values) for key, values in chosen.items())
