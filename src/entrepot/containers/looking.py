"""Looking at containers without what changes them: most commands that people wait for only look.

What changes containers (`lifecycle`) brings the runtime, mounts and layers along; it is imported for an
orphan only.
"""

from __future__ import annotations

import os

from entrepot.containers.records import Container, Containers, State


def settled_state(containers: Containers, container: Container) -> State:
    """The state as it is. An orphan, up by its state with no monitor, is ended and cleaned up first."""
    state = containers.state(container)
    if not state.is_up:
        return state
    try:
        lock = containers.try_monitor_lock(container)
    except FileNotFoundError:
        return state
    if lock is None:
        return state
    os.close(lock)
    from entrepot.containers.lifecycle import Lifecycle

    return Lifecycle(containers).settled_state(container)
