"""`kill`: a signal to a container's process."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.containers.errors import ContainerNotRunning
from entrepot.errors import Conflict
from entrepot.images.store import ImageStore


class CannotKill(Conflict):
    """The container does not run."""

    code = "cannot-kill-container"


def kill_container(name: str, *, signal: str = "KILL", store: ImageStore | Path | str | None = None) -> None:
    """Raises NoSuchContainer, CannotKill, InvalidOption."""
    lifecycle = lifecycle_of(store)
    container = lifecycle.containers.find(name)
    try:
        lifecycle.send_signal(container, signal)
    except ContainerNotRunning as error:
        raise CannotKill(
            f"cannot kill container: {name}: {error.message.lower().replace('container', 'container', 1)}"
        ) from error
