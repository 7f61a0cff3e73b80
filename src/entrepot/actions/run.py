"""`run`: create and start, and with `auto_remove` remove."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

import msgspec

from entrepot.actions.create import create_container, lifecycle_of
from entrepot.actions.start import Finished, collect_output
from entrepot.containers.options import CreateOptions
from entrepot.errors import EntrepotError
from entrepot.images.store import ImageStore


def run_container(
    image: str,
    command: Sequence[str] = (),
    *,
    options: CreateOptions = CreateOptions(),
    stdin: bytes | None = None,
    pull: str = "missing",
    store: ImageStore | Path | str | None = None,
) -> Finished:
    """Run a container to its end and return its output and exit code.

    Raises what `create_container` raises, NoRuntime, and RuntimeFailed when the process could not be started.
    """
    if stdin is not None:
        options = msgspec.structs.replace(options, interactive=True)
    container = create_container(image, command, options=options, pull=pull, store=store)
    lifecycle = lifecycle_of(store)
    try:
        _, sock = lifecycle.start(container, stdin=stdin is not None)
    except BaseException:
        if options.auto_remove:
            with contextlib.suppress(EntrepotError):
                lifecycle.remove(container, volumes=True)
        raise
    finished = collect_output(sock, stdin=stdin)
    finished.container_id = container.id
    return finished
