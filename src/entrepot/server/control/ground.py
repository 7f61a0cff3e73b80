"""What a registry stands on, without anything that runs on it: for what makes, moves or brings back one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

from entrepot.server.config.model import Config
from entrepot.server.db import Catalog
from entrepot.server.storage.store import BlobStore

__all__ = ["Ground", "OpenGround"]


@dataclass(frozen=True, slots=True)
class Ground:
    """Opened and closed by the composition root. Whoever has it may do everything: there is no actor."""

    config: Config
    url: str
    """Of the catalog."""
    catalog: Catalog
    store: BlobStore
    seal_file: Path
    """Where the key is, or is to be, that opens what is sealed in the catalog."""


OpenGround = Callable[[], AbstractAsyncContextManager[Ground]]
