"""What was said before the verb (`--store`, `--debug`), for everything below it, and the stores it means.

Knows no click: what reads a command line says it here once (`begin`), and a command that only looks is
carried out without click.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from entrepot.images.location import default_store_path

if TYPE_CHECKING:
    from entrepot.images.store import ImageStore


class Invocation:
    """The options before the verb."""

    def __init__(self, store: str | None = None, debug: bool = False) -> None:
        self.store = store
        self.debug = debug

    @property
    def store_path(self) -> Path:
        return Path(self.store) if self.store else default_store_path()


_now = Invocation()


def begin(said: Invocation) -> None:
    """From now on this command line is carried out. A process has one at a time."""
    global _now  # noqa: PLW0603 - the command line is the process's
    _now = said


def invocation() -> Invocation:
    """What was said before the verb, from anywhere below a command."""
    return _now


def open_store() -> ImageStore:
    """The local store this command line speaks of."""
    from entrepot.images.store import ImageStore

    return ImageStore(_now.store_path)


def container_store(container: str | None = None) -> ImageStore:
    """The store, looked at from where containers can be mounted: as root, or in a user namespace.

    For a command that looks into `container` while it runs, that is its monitor's namespace.
    """
    if os.geteuid() != 0:
        from entrepot.containers import rootless

        if container is None or not _join(container):
            rootless.enter_new()
    return open_store()


def _join(name: str) -> bool:
    from entrepot.containers import rootless
    from entrepot.containers.records import Containers
    from entrepot.errors import EntrepotError

    containers = Containers(open_store())
    try:
        found = containers.find(name)
    except EntrepotError:
        return False
    state = containers.state(found)
    return state.status == "running" and rootless.enter_monitors(state.monitor_pid)
