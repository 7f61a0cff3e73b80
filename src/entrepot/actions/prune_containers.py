"""`container prune`: remove containers that do not run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from msgspec import Struct

from entrepot.actions.container_inspect import container_sizes
from entrepot.actions.errors import InvalidFilter
from entrepot.actions.filters import parse_moment
from entrepot.actions.ps import has_label, list_containers
from entrepot.actions.rm import remove_container
from entrepot.containers.errors import ContainerRunning, NoSuchContainer
from entrepot.containers.records import Container
from entrepot.images.store import ImageStore


class ContainersPruned(Struct, frozen=True):
    """What `container prune` did."""

    removed: tuple[str, ...]
    """IDs."""
    freed_bytes: int


def prune_containers(
    *, filters: Sequence[str] = (), store: ImageStore | Path | str | None = None
) -> ContainersPruned:
    """Remove containers that do not run and fit `filters`: `until=`, `label=`, `label!=`. Their volumes stay.

    One that is started or removed meanwhile is left alone. Raises InvalidFilter.
    """
    tests = [_test(text) for text in filters]
    removed, freed = [], 0
    for item in list_containers(all_containers=True, store=store):
        container = item.container
        if item.state.is_up or not all(test(container) for test in tests):
            continue
        try:
            own, _ = container_sizes(container, store=store)
            remove_container(container.id, store=store)
        except (ContainerRunning, NoSuchContainer, FileNotFoundError):
            continue
        freed += own
        removed.append(container.id)
    return ContainersPruned(tuple(removed), freed)


def _test(text: str) -> Callable[[Container], bool]:
    key, _, value = text.partition("=")
    if not value or key not in ("until", "label", "label!"):
        raise InvalidFilter(key)
    if key == "until":
        moment = parse_moment(value)
        return lambda container: container.created < moment
    return lambda container: has_label(container, value) is (key == "label")
