"""`image diff`: what one image has and another has not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entrepot.actions.places import the_store
from entrepot.images.image import Image
from entrepot.images.snapshots import Snapshots
from entrepot.images.store import ImageStore
from entrepot.layers.diff import ChangeKind, same_content, tree_changes
from entrepot.layers.entry import Kind
from entrepot.layers.union import Union


@dataclass(frozen=True, slots=True)
class FileDifference:
    """One path."""

    kind: str
    """`A`dded, `C`hanged or `D`eleted, from the first image to the second."""
    path: str
    size_before: int
    size_after: int


@dataclass(frozen=True, slots=True)
class LayerDifference:
    """One place in the two stacks of layers."""

    index: int
    before: str | None
    """Diff ID."""
    after: str | None
    size_before: int
    size_after: int

    @property
    def same(self) -> bool:
        return self.before == self.after


@dataclass(frozen=True, slots=True)
class ImageDifference:
    """Everything that tells two images apart."""

    before: Image
    after: Image
    files: tuple[FileDifference, ...]
    layers: tuple[LayerDifference, ...]
    config: Mapping[str, tuple[Any, Any]]
    """Setting (`Env.PATH`, `Labels.x`, `Cmd`, `architecture`) → before and after; None where it is not
    set."""

    @property
    def is_empty(self) -> bool:
        """Whether they do the same with the same files."""
        return not self.files and not self.config


def diff_images(first: str, second: str, *, store: ImageStore | Path | str | None = None) -> ImageDifference:
    """Compare two images of the store, file by file. A file that differs in its time alone counts as the
    same.

    Raises NoSuchImage, and what unpacking raises.
    """
    place = the_store(store)
    before, after = place.resolve(first), place.resolve(second)
    snapshots = Snapshots(place)
    with snapshots.in_use():
        files = _files(snapshots.ensure(before), snapshots.ensure(after))
    return ImageDifference(
        before,
        after,
        files,
        _layers(place, before, after),
        config_differences(place.config(before).document, place.config(after).document),
    )


def _files(before: list[Path], after: list[Path]) -> tuple[FileDifference, ...]:
    found = []
    with Union(before) as old, Union(after) as new:
        for change in tree_changes(new, old, same=same_content):
            previous = old.find(change.path) if change.kind is not ChangeKind.ADDED else None
            if (
                change.entry is not None
                and change.entry.kind is Kind.DIRECTORY
                and previous is not None
                and previous.kind is Kind.DIRECTORY
                and (previous.mode, previous.uid, previous.gid)
                == (change.entry.mode, change.entry.uid, change.entry.gid)
            ):
                continue  # only something below it changed
            found.append(
                FileDifference(
                    change.kind.value,
                    "/" + os.fsdecode(b"/".join(change.path)),
                    previous.size if previous is not None else 0,
                    change.entry.size if change.entry is not None else 0,
                )
            )
    return tuple(found)


def _layers(place: ImageStore, before: Image, after: Image) -> tuple[LayerDifference, ...]:
    old, new = place.layer_sizes(before), place.layer_sizes(after)
    # One layer may be stored under two digests, of which one was made here and counted, the other received.
    known = dict(zip(before.diff_ids, old, strict=False))
    new = tuple(known.get(diff_id, size) for diff_id, size in zip(after.diff_ids, new, strict=False))
    count = max(len(before.diff_ids), len(after.diff_ids))
    return tuple(
        LayerDifference(
            index,
            str(before.diff_ids[index]) if index < len(before.diff_ids) else None,
            str(after.diff_ids[index]) if index < len(after.diff_ids) else None,
            old[index] if index < len(old) else 0,
            new[index] if index < len(new) else 0,
        )
        for index in range(count)
    )


def config_differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ. Pure; history and layers are not settings."""
    old, new = _settings(before), _settings(after)
    return {
        key: (old.get(key), new.get(key))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    }


_TOP = ("architecture", "os", "variant", "os.version", "author")


def _settings(document: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {key: document[key] for key in _TOP if document.get(key)}
    for key, value in (document.get("config") or {}).items():
        if key == "Env":
            pairs = (item.partition("=") for item in value or ())
            flat |= {f"Env.{name}": text for name, _, text in pairs}
        elif isinstance(value, dict):
            flat |= {f"{key}.{name}": item if item != {} else True for name, item in value.items()}
        elif value not in (None, "", [], False):
            flat[key] = value
    return flat
