"""`ps`: which containers there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from entrepot.actions.errors import InvalidFilter
from entrepot.actions.places import the_store
from entrepot.containers.looking import settled_state
from entrepot.containers.records import Container, Containers, State
from entrepot.images.image import Image
from entrepot.images.store import ImageStore

FILTERS = frozenset(
    (
        "id", "name", "label", "status", "exited", "ancestor", "before", "since", "volume", "network",
        "health", "is-task",
    )
)  # fmt: skip
_VALUES = {
    "status": frozenset(("created", "restarting", "running", "removing", "paused", "exited", "dead")),
    "health": frozenset(("starting", "healthy", "unhealthy", "none")),
    "is-task": frozenset(("true", "false", "1", "0")),
}
"""What these filters may be; docker's states, of which containers here have four."""


class Listed(Struct, frozen=True):
    """A container as a list shows it."""

    container: Container
    state: State
    image: str
    """The name it was made from, or the image's short ID once that name means something else."""


def list_containers(
    *,
    all_containers: bool = False,
    filters: Sequence[str] = (),
    last: int | None = None,
    store: ImageStore | Path | str | None = None,
) -> list[Listed]:
    """Running ones, newest first; with `all_containers`, or a filter on their state, or `last`, others too.

    Containers whose monitor was killed are ended and cleaned up on the way. Raises InvalidFilter,
    NoSuchContainer.
    """
    containers = Containers(the_store(store))
    chosen = _parse_filters(filters)
    found = [(container, settled_state(containers, container)) for container in containers.list()]
    found = [(container, state) for container, state in found if containers.directory(container).exists()]
    if not (all_containers or last is not None or "status" in chosen or "exited" in chosen):
        found = [(container, state) for container, state in found if state.is_up]
    found = [pair for pair in found if _keeps(containers, chosen, *pair)]
    if last is not None and last >= 0:
        found = found[:last]
    names = _image_names(containers.store.list()) if found else {}
    return [Listed(container, state, _shown_image(container, names)) for container, state in found]


def _parse_filters(filters: Sequence[str]) -> dict[str, list[str]]:
    chosen: dict[str, list[str]] = {}
    for item in filters:
        key, equals, value = item.partition("=")
        if not equals or key not in FILTERS:
            raise InvalidFilter(key)
        is_known = value in _VALUES[key] if key in _VALUES else key != "exited" or _is_number(value)
        if not is_known:
            raise InvalidFilter(item)
        chosen.setdefault(key, []).append(value)
    return chosen


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdigit()


def _keeps(
    containers: Containers, chosen: Mapping[str, Sequence[str]], container: Container, state: State
) -> bool:
    return all(any(_fits(containers, key, value, container, state) for value in values)
               if key != "label" else
               all(has_label(container, value) for value in values)
               for key, values in chosen.items())  # fmt: skip


def _fits(containers: Containers, key: str, value: str, container: Container, state: State) -> bool:
    match key:
        case "id":
            return container.id.startswith(value)
        case "name":
            import re

            return re.search(value.removeprefix("/"), container.name) is not None
        case "status":
            return state.status == value
        case "exited":
            return state.status == "exited" and str(state.exit_code) == value
        case "ancestor":
            return _is_ancestor(containers.store, value, container)
        case "before":
            return container.created < containers.find(value).created
        case "since":
            return container.created > containers.find(value).created
        case "volume":
            return any(value in (mount.name, mount.target) for mount in container.host.mounts)
        case "health":
            return value == "none"  # health checks are kept for images, never run
        case "is-task":
            return value in ("false", "0")
        case _:
            return container.host.network == value


def has_label(container: Container, wanted: str) -> bool:
    """`KEY`, or `KEY=VALUE`."""
    key, equals, value = wanted.partition("=")
    labels = container.process.labels
    return key in labels and (not equals or labels[key] == value)


def _is_ancestor(store: ImageStore, name: str, container: Container) -> bool:
    from entrepot.errors import EntrepotError

    try:
        image = store.resolve(name)
    except EntrepotError:
        return container.image == name
    diff_ids = [str(diff_id) for diff_id in image.diff_ids]
    return str(image.id) == container.image_id or container.diff_ids[: len(diff_ids)] == diff_ids


def _image_names(images: Sequence[Image]) -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for image in images:
        known = names.setdefault(str(image.id), set())
        known.update(tag.familiar() for tag in image.tags)
        known.update(digest.familiar() for digest in image.repo_digests)
    return names


def _shown_image(container: Container, names: Mapping[str, set[str]]) -> str:
    from entrepot.errors import EntrepotError
    from entrepot.oci.reference import Reference

    known = names.get(container.image_id, set())
    try:
        full = Reference.parse(container.image).with_default_tag().familiar()
    except EntrepotError:
        full = ""
    if full in known or container.image in known:
        return container.image
    hexadecimal = container.image_id.partition(":")[2]
    if hexadecimal.startswith(container.image.removeprefix("sha256:")):
        return container.image
    return hexadecimal[:12]
