"""`mutate`: another config over the same layers. Nothing is unpacked or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from entrepot.actions.places import the_store
from entrepot.errors import InvalidInput
from entrepot.images.changes import apply_changes
from entrepot.images.image import Image
from entrepot.images.store import ImageStore
from entrepot.images.times import print_time
from entrepot.oci.imageconfig import HistoryEntry, ImageConfig
from entrepot.oci.platform import Platform
from entrepot.oci.reference import Reference


class InvalidMutation(InvalidInput):
    """A change that cannot be made."""

    code = "invalid-mutation"


@dataclass(frozen=True, slots=True)
class Mutation:
    """What is to be different; None, and an empty collection, leave a field as it is."""

    env: Mapping[str, str | None] = field(default_factory=dict)
    """Variable → value; None removes it."""
    labels: Mapping[str, str | None] = field(default_factory=dict)
    """Label → value; None removes it."""
    entrypoint: Sequence[str] | None = None
    """Empty removes it."""
    cmd: Sequence[str] | None = None
    user: str | None = None
    working_dir: str | None = None
    platform: str | None = None
    created: datetime | None = None
    """Of the image and of every entry of its history."""
    author: str | None = None
    changes: Sequence[str] = ()
    """Dockerfile instructions, applied last."""


def mutate_image(
    name: str, target: str | None = None, *, mutation: Mutation, store: ImageStore | Path | str | None = None
) -> Image:
    """A new image with the layers of `name` and a changed config, tagged `target` (default: `name` moves to
    it).

    The same change to the same image gives the same digest.
    Raises NoSuchImage, InvalidMutation, InvalidChange, InvalidReference, InvalidPlatform.
    """
    place = the_store(store)
    image = place.resolve(name)
    config = mutated_config(place.config(image), mutation)
    return place.create_image(
        config, place.manifest(image).layers, names=target_names(name, target, image), parent=None
    )


def target_names(name: str, target: str | None, image: Image) -> list[Reference]:
    """The tag a changed image gets: the one asked for, else the one it was found by; none for an ID."""
    if target is not None:
        return [Reference.parse(target).with_default_tag()]
    try:
        found = Reference.parse(name).with_default_tag()
    except InvalidInput:
        return []
    return [found] if found in image.tags else []


def mutated_config(config: ImageConfig, mutation: Mutation) -> ImageConfig:
    """The config with the changes made. Pure."""
    runtime: dict[str, Any] = dict(config.runtime)
    if mutation.env:
        runtime["Env"] = _with_variables(config.env, mutation.env)
    if mutation.labels:
        labels = {**config.labels, **mutation.labels}
        runtime["Labels"] = {key: value for key, value in labels.items() if value is not None}
    if mutation.entrypoint is not None:
        runtime["Entrypoint"] = list(mutation.entrypoint) or None
        if mutation.cmd is None:
            runtime["Cmd"] = None  # the arguments of another program
    if mutation.cmd is not None:
        runtime["Cmd"] = list(mutation.cmd) or None
    if mutation.user is not None:
        runtime["User"] = mutation.user or None
    if mutation.working_dir is not None:
        runtime["WorkingDir"] = mutation.working_dir or None
    runtime = apply_changes(runtime, mutation.changes)
    runtime = {key: value for key, value in runtime.items() if value not in (None, [], {})}
    created = print_time(mutation.created) if mutation.created is not None else None
    return config.with_changes(
        platform=Platform.parse(mutation.platform) if mutation.platform else None,
        created=created,
        author=mutation.author,
        history=None if created is None else [_at(entry, created) for entry in config.history],
        extra={"config": runtime},
    )


def _at(entry: HistoryEntry, created: str) -> HistoryEntry:
    return HistoryEntry(created, entry.created_by, entry.author, entry.comment, entry.empty_layer)


def _with_variables(env: Sequence[str], changes: Mapping[str, str | None]) -> list[str]:
    for name in changes:
        if not name or "=" in name:
            raise InvalidMutation(f"'{name}' is no name of a variable")
    result = []
    left = dict(changes)
    for item in env:
        name = item.partition("=")[0]
        if name not in changes:
            result.append(item)
        elif name in left:
            value = left.pop(name)
            if value is not None:
                result.append(f"{name}={value}")
    result += [f"{name}={value}" for name, value in left.items() if value is not None]
    return result
