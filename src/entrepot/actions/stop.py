"""`stop` and `restart`."""

from __future__ import annotations

from pathlib import Path

from entrepot.actions.create import lifecycle_of
from entrepot.images.store import ImageStore


def stop_container(
    name: str,
    *,
    timeout_s: float | None = None,
    signal: str | None = None,
    store: ImageStore | Path | str | None = None,
) -> None:
    """Ask a container's process to end, and kill it when it has not after `timeout_s` (10 when nothing else
    is set).

    A container that does not run is left alone. Raises NoSuchContainer, InvalidOption.
    """
    lifecycle = lifecycle_of(store)
    lifecycle.stop(lifecycle.containers.find(name), timeout_s=timeout_s, signal_text=signal)
