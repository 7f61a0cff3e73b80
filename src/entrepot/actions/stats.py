"""`stats`: what running containers take of this machine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from entrepot.actions.places import the_store
from entrepot.containers.looking import settled_state
from entrepot.containers.processes import Usage, memory_of_machine, usage_of
from entrepot.containers.records import Container, Containers, State
from entrepot.images.store import ImageStore

INTERVAL_S = 1.0
_NOTHING = Usage(0.0, 0, 0, 0, 0, 0, 0)


class ContainerStats(Struct, frozen=True):
    """One container at a moment."""

    container: Container
    usage: Usage
    cpu_percent: float
    """100 is one processor, since the moment before."""
    memory_limit: int

    @property
    def memory_percent(self) -> float:
        return self.usage.memory_bytes * 100 / self.memory_limit if self.memory_limit else 0.0


def container_stats(
    names: Sequence[str] = (),
    *,
    all_containers: bool = False,
    interval_s: float = INTERVAL_S,
    store: ImageStore | Path | str | None = None,
) -> Iterator[list[ContainerStats]]:
    """Figures of the named containers, or of those that run, every `interval_s`, without end.

    Raises NoSuchContainer.
    """
    containers = Containers(the_store(store))
    named = [containers.find(name) for name in names]
    before: dict[str, tuple[float, Usage]] = {}
    while True:
        if not before:
            before = {one.id: (time.monotonic(), _usage(state)) for one, state in _seen(containers, named)}
        time.sleep(interval_s)
        now, rows = {}, []
        for container, state in _seen(containers, named):
            if state.status != "running" and not (all_containers or named):
                continue
            usage, moment = _usage(state), time.monotonic()
            now[container.id] = moment, usage
            rows.append(_stats(container, usage, moment, before.get(container.id)))
        before = now
        yield rows


def _seen(containers: Containers, named: Sequence[Container]) -> list[tuple[Container, State]]:
    return [(one, settled_state(containers, one)) for one in named or containers.list()]


def _usage(state: State) -> Usage:
    return usage_of(state.pid) if state.status == "running" else _NOTHING


def _stats(
    container: Container, usage: Usage, moment: float, before: tuple[float, Usage] | None
) -> ContainerStats:
    percent = 0.0
    if before is not None and moment > before[0]:
        percent = max(0.0, (usage.cpu_s - before[1].cpu_s) / (moment - before[0]) * 100)
    limit = container.host.memory_bytes or memory_of_machine()
    return ContainerStats(container, usage, percent, limit if usage.pids else 0)
